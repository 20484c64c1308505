# SPDX-License-Identifier: Apache-2.0
"""ROS parameters made from config.py: names, ranges, descriptions, read-only flags, and back."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from mast3r_ros.config import NodeConfig, Rectified
from mast3r_ros.errors import ConfigError
from mast3r_ros.settings import Setting, Settings

_NOT_OURS = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')


class NodeParameters:
    """The node's settings as parameters; ``config`` is always what they amount to.

    :param on_change: called with the new settings when a dynamic one has changed.
    :raises ConfigError: a value given at start is unknown or out of range.
    """

    def __init__(
        self,
        node: Node,
        defaults: NodeConfig | None = None,
        on_change: Callable[[NodeConfig], None] | None = None,
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._settings = dict(named_settings(defaults or NodeConfig()))
        self._check_overrides()
        for name, (setting, value) in self._settings.items():
            self._declare(name, setting, value)
        self.config = self._read({})
        node.add_on_set_parameters_callback(self._on_set)

    def _declare(self, name: str, setting: Setting, value: Any) -> None:
        try:
            self._node.declare_parameter(name, value, _descriptor(setting))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            given = self._node._parameter_overrides[name].value
            problem = f'{name} is {given!r}, allowed is {setting.allowed}'
            raise ConfigError([(name, problem)]) from error

    def _check_overrides(self) -> None:
        """Refuse what rclpy would silently ignore: values for parameters that do not exist."""
        problems = []
        for name in self._node._parameter_overrides:
            if name not in self._settings and not name.startswith(_NOT_OURS):
                close = difflib.get_close_matches(name, self._settings, n=1)
                hint = f'; did you mean {close[0]}?' if close else ''
                problems.append((name, f'{name} is no parameter of this node{hint}'))
        if problems:
            raise ConfigError(problems)

    def _read(self, changes: dict[str, Any]) -> NodeConfig:
        values: dict[str, Any] = {}
        for name in self._settings:
            value = changes.get(name, self._node.get_parameter(name).value)
            group, _, inner = name.rpartition('.')
            target = values.setdefault(group, {}) if group else values
            target[inner] = value if isinstance(value, (str, int, float)) else list(value)
        return NodeConfig(**values)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        changes = {item.name: item.value for item in parameters if item.name in self._settings}
        for name in changes:
            if not self._settings[name][0].dynamic:
                return SetParametersResult(
                    successful=False,
                    reason=f'{name} is read-only while the node runs; set it when starting',
                )
        try:
            self.config = self._read(changes)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if changes and self._on_change is not None:
            self._on_change(self.config)
        return SetParametersResult(successful=True)


def named_settings(
    settings: Settings, prefix: str = ''
) -> Iterator[tuple[str, tuple[Setting, Any]]]:
    """Return each setting under its parameter name, with its value as a parameter holds it."""
    plain = settings.to_dict()
    for item in settings.describe():
        value = getattr(settings, item.name)
        if isinstance(value, Settings):
            yield from named_settings(value, f'{prefix}{item.name}.')
        else:
            yield f'{prefix}{item.name}', (item, plain[item.name])


def _descriptor(setting: Setting) -> ParameterDescriptor:
    unit = f', in {setting.unit}' if setting.unit else ''
    descriptor = ParameterDescriptor(
        description=setting.meaning,
        additional_constraints=f'Allowed: {setting.allowed}{unit}.',
        read_only=not setting.dynamic,
    )
    low, high = setting.low, setting.high
    optional = setting.nothing is not None
    # A whole number is a fine value for a float, and YAML turns `true` into a bool where a word is
    # meant: rclpy alone would refuse both.
    descriptor.dynamic_typing = setting.type in (float, Rectified)
    if low is None or high is None:
        return descriptor
    if setting.type is float:
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    else:
        least = 0 if optional else int(low)
        descriptor.integer_range = [IntegerRange(from_value=least, to_value=int(high), step=1)]
    return descriptor
