# SPDX-License-Identifier: Apache-2.0
"""Several nodes in one process that share one engine: N cameras, one model.

Where composition_interfaces is installed it answers ``ros2 component load`` and
``LoadComposableNodes`` like any other container.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_node_name import validate_node_name

from mast3r_ros.config import ExecutorRule
from mast3r_ros.errors import InvalidInput
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.perception_node import Mast3rNode

PLUGINS = {'mast3r_ros::Mast3rNode': Mast3rNode}
"""What can be loaded, by the name that ``ros2 component load mast3r_ros NAME`` takes."""

_EXAMPLES = """examples:
  ros2 run mast3r_ros container
  ros2 run mast3r_ros container --node front --node /rear/mast3r --ros-args \\
      -r front:left/image:=/front/left/image_rect -p runtime.backend:=geometric

exit codes: 0 stopped by a signal, 1 every node's engine is dead, 2 wrong use"""


class Container(Node):
    """Holds nodes and the engines they share.

    :param names: nodes to load as soon as the container is spun, as ``[/NS/]NAME``.
    :param hub: where the nodes get their engines.
    :param executor_rule: what is to spin them all.
    """

    def __init__(
        self,
        node_name: str = 'mast3r_container',
        *,
        names: Sequence[str] = (),
        hub: EngineHub | None = None,
        executor_rule: ExecutorRule = ExecutorRule.SINGLE,
        **keywords: Any,
    ) -> None:
        super().__init__(node_name, **keywords)
        self.executor_rule = executor_rule
        self.nodes: dict[int, Mast3rNode] = {}  # by the number that unloading asks for
        self._hub = hub or EngineHub()
        self._next_id = 1
        self._names = names
        # Not on simulated time, which may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._first_load = self.create_timer(0.0, self._load_names, clock=steady)
        self._offer_composition()

    @property
    def fatal(self) -> str | None:
        """Why no node here can do anything any more; None while one can."""
        failures = [node.fatal for node in self.nodes.values()]
        return failures[0] if failures and all(failures) else None

    def load(
        self,
        plugin: str = 'mast3r_ros::Mast3rNode',
        node_name: str = 'mast3r',
        *,
        namespace: str | None = None,
        cli_args: Sequence[str] | None = None,
        **keywords: Any,
    ) -> int:
        """Make a node here and return its number; the container must be in an executor.

        :param namespace: nothing: the one that the container was given on its command line.
        :raises InvalidInput: the plugin is unknown, the name cannot be one, or a node of that
            full name is here already.
        """
        if plugin not in PLUGINS:
            raise InvalidInput(
                f'{plugin!r} is no node of mast3r_ros; known are {", ".join(PLUGINS)}'
            )
        node = PLUGINS[plugin](
            node_name,
            namespace=namespace,
            cli_args=[*(cli_args or ()), *_own_name(node_name, namespace)],
            hub=self._hub,
            context=self.context,
            **keywords,
        )
        full_name = node.get_fully_qualified_name()
        if full_name in (other.get_fully_qualified_name() for other in self.nodes.values()):
            node.destroy_node()
            raise InvalidInput(f'a node {full_name} is loaded already; choose another name')
        number, self._next_id = self._next_id, self._next_id + 1
        self.nodes[number] = node
        if self.executor is not None:
            self.executor.add_node(node)
        return number

    def unload(self, number: int) -> None:
        """End a node; its engine goes with its last user.

        :raises InvalidInput: there is no such node.
        """
        node = self.nodes.pop(number, None)
        if node is None:
            known = ', '.join(str(known) for known in self.nodes) or 'none'
            raise InvalidInput(f'there is no node {number} here; known are {known}')
        if self.executor is not None:
            self.executor.remove_node(node)
        node.destroy_node()

    def destroy_node(self) -> None:
        """End every node, then the container."""
        for number in list(self.nodes):
            self.unload(number)
        super().destroy_node()

    def _load_names(self) -> None:
        self._first_load.cancel()
        for name in self._names:
            namespace, slash, node_name = name.rpartition('/')
            self.load(node_name=node_name, namespace=namespace or slash or None)

    def _offer_composition(self) -> None:
        try:
            from composition_interfaces.srv import ListNodes, LoadNode, UnloadNode
        except ImportError:
            self.get_logger().info(
                'composition_interfaces is not installed: nodes are loaded by --node or in Python'
            )
            return
        for kind, name, answer in (
            (LoadNode, 'load_node', self._on_load),
            (UnloadNode, 'unload_node', self._on_unload),
            (ListNodes, 'list_nodes', self._on_list),
        ):
            self.create_service(kind, f'~/_container/{name}', answer)

    def _on_load(self, request: Any, response: Any) -> Any:
        rules = [word for rule in request.remap_rules for word in ('-r', rule)]
        try:
            response.unique_id = self.load(
                request.plugin_name,
                request.node_name or 'mast3r',
                namespace=request.node_namespace or None,
                cli_args=['--ros-args', *rules] if rules else None,
                parameter_overrides=[Parameter.from_parameter_msg(p) for p in request.parameters],
            )
            node = self.nodes[response.unique_id]
            response.full_node_name = node.get_fully_qualified_name()
            response.success = True
        except Exception as error:  # of rclpy too: names and rules that cannot be
            response.success = False
            response.error_message = _first_line(error)
        return response

    def _on_unload(self, request: Any, response: Any) -> Any:
        try:
            self.unload(request.unique_id)
            response.success = True
        except InvalidInput as error:
            response.success = False
            response.error_message = str(error)
        return response

    def _on_list(self, _request: Any, response: Any) -> Any:
        response.unique_ids = list(self.nodes)
        response.full_node_names = [
            node.get_fully_qualified_name() for node in self.nodes.values()
        ]
        return response


def _own_name(node_name: str, namespace: str | None) -> list[str]:
    """Return the rules by which a node keeps its name, whatever the command line calls others.

    A container with a name is started with ``-r __node:=``, which else renames all in the process.

    :raises InvalidInput: a node cannot have that name.
    """
    rules = [f'__node:={node_name}']
    try:
        validate_node_name(node_name)
        if namespace:
            absolute = namespace if namespace.startswith('/') else f'/{namespace}'
            validate_namespace(absolute)
            rules.append(f'__ns:={absolute}')
    except NameValidationException as error:
        reason = str(error).partition(':\n')[0]
        raise InvalidInput(
            f'no node can be called {node_name!r} in the namespace {namespace or "/"!r}: {reason}'
        ) from error
    return ['--ros-args', *(word for rule in rules for word in ('-r', rule))]


def _first_line(error: Exception) -> str:
    """Return what is wrong in one line; rclpy's own words name places in its sources."""
    return str(error).partition(', at /')[0].strip().replace('\n', ' ') or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a container until it is stopped."""
    words = remove_ros_args(list(argv) if argv is not None else sys.argv)[1:]
    parser = argparse.ArgumentParser(
        prog='container',
        description='Run several mast3r_ros nodes in one process; they share one engine.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--node', action='append', default=[], metavar='NAME', help='load a node, as [/NS/]NAME'
    )
    rules = [rule.value for rule in ExecutorRule]
    parser.add_argument('--executor', choices=rules, default=rules[0], help=f'({rules[0]})')
    arguments = parser.parse_args(words)
    rule = ExecutorRule(arguments.executor)
    return run_nodes(lambda: [Container(names=arguments.node, executor_rule=rule)], argv)


if __name__ == '__main__':
    sys.exit(main())
