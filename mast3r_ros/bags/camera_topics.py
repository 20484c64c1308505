# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are the cameras: those asked for, else those that look like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mast3r_ros.bags.recorded import RecordedTopic
from mast3r_ros.config import ImageTransport, NodeConfig, PairingMode
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.input_topics import CAMERA_TOPICS, beside

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'

_NO_CAMERA = re.compile(r'mask|depth|dispar|confiden|label|segment|debug|/matches', re.IGNORECASE)
_SIDES = (('left', 'right'), ('LEFT', 'RIGHT'), ('Left', 'Right'))

Topics = Mapping[str, RecordedTopic]


@dataclass(frozen=True)
class CameraTopics:
    """The topics of one camera.

    :param source: the pairing's name of it: left, right or image.
    :param type_name: of its images: raw or compressed ones.
    """

    source: str
    image: str
    type_name: str
    info: str | None
    mask: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them that there are."""
        return tuple(name for name in (self.image, self.info, self.mask) if name is not None)

    def __str__(self) -> str:
        mask = f', mask {self.mask}' if self.mask else ''
        return f'{self.source}: {self.image}, calibration {self.info or "none"}{mask}'


@dataclass(frozen=True)
class Asked:
    """What the user named for one camera; None where it is to be found, '' for none of it."""

    image: str | None = None
    info: str | None = None
    mask: str | None = None


def choose_cameras(
    topics: Topics, config: NodeConfig, asked: Mapping[str, Asked]
) -> tuple[CameraTopics, ...]:
    """Return the cameras of the settings' mode.

    :param asked: by the pairing's names of cameras.
    :raises InvalidInput: a topic is missing, of the wrong type, or cannot be guessed.
    """
    mode = config.pairing.mode
    sources = [source for source, _ in CAMERA_TOPICS[mode]]
    for source, what in asked.items():
        if source not in sources and what != Asked():
            raise InvalidInput(
                f'{source} is no camera of the mode {mode.value}; it has {" and ".join(sources)}'
            )
    named = [_named(asked.get(source, Asked()).image) for source in sources]
    for name in named:
        if name is not None:
            _checked(topics, name, (IMAGE, COMPRESSED_IMAGE))
    images: tuple[str, ...] = (
        _stereo_images(topics, config, named[0], named[1])
        if mode is PairingMode.STEREO
        else (named[0] or _best_image(topics, config),)
    )
    return tuple(
        _camera(topics, source, image, asked.get(source, Asked()))
        for source, image in zip(sources, images, strict=True)
    )


def is_stereo_pair(left: str, right: str) -> bool:
    """Whether two names differ just by what tells left from right, or first from second."""
    parts = [re.split(r'[/_]', name) for name in (left, right)]
    if len(parts[0]) != len(parts[1]):
        return False
    differing = [(one, other) for one, other in zip(*parts, strict=True) if one != other]
    return bool(differing) and all(_tells_sides(one, other) for one, other in differing)


def _tells_sides(one: str, other: str) -> bool:
    if any(a in one and one.replace(a, b) == other for a, b in _SIDES):
        return True
    if (one, other) in (('l', 'r'), ('L', 'R')):
        return True
    stem, number = one[:-1], one[-1:]
    return number in ('0', '1') and other == f'{stem}{int(number) + 1}'


def _camera(topics: Topics, source: str, image: str, asked: Asked) -> CameraTopics:
    topic = _checked(topics, image, (IMAGE, COMPRESSED_IMAGE))
    if topic.count == 0:
        raise InvalidInput(f'{image} holds no message; name another topic, or check the recording')
    info = _accompanying(topics, asked.info, beside(image, 'camera_info'), CAMERA_INFO)
    mask = _accompanying(topics, asked.mask, beside(image, 'mask'), IMAGE)
    return CameraTopics(source, image, topic.type_name, info, mask)


def _accompanying(topics: Topics, asked: str | None, usual: str, type_name: str) -> str | None:
    if asked == '':
        return None
    if asked is not None:
        return _checked(topics, str(_named(asked)), (type_name,)).name
    return usual if usual in topics and topics[usual].type_name == type_name else None


def _checked(topics: Topics, name: str, allowed: tuple[str, ...]) -> RecordedTopic:
    if name not in topics:
        known = ', '.join(topic for topic in topics if topics[topic].type_name in allowed)
        raise InvalidInput(
            f'there is no topic {name}; ' + (f'there are {known}' if known else _all(topics))
        )
    if topics[name].type_name not in allowed:
        raise InvalidInput(
            f'{name} carries {topics[name].type_name or "an unknown type"}; '
            f'allowed is {" or ".join(allowed)}'
        )
    return topics[name]


def _stereo_images(
    topics: Topics, config: NodeConfig, left: str | None, right: str | None
) -> tuple[str, str]:
    if left and right:
        return left, right
    images = _images(topics, config)
    pairs = [
        (one, other)
        for one in ([left] if left else images)
        for other in ([right] if right else images)
        if is_stereo_pair(one, other)
    ]
    if not pairs:
        raise InvalidInput(
            f'no two image topics look like left and right among {", ".join(images)}; '
            'name them with --left and --right, or use --mode sequence'
        )
    return min(pairs, key=lambda pair: tuple(_rank(topics, config, name) for name in pair))


def _best_image(topics: Topics, config: NodeConfig) -> str:
    return min(_images(topics, config), key=lambda name: _rank(topics, config, name))


def _images(topics: Topics, config: NodeConfig) -> list[str]:
    """Return the topics that are likely to show what a camera sees."""
    images = [name for name in topics if topics[name].type_name in (IMAGE, COMPRESSED_IMAGE)]
    if not images:
        raise InvalidInput(f'there is no topic of images; {_all(topics)}')
    return [name for name in images if not _NO_CAMERA.search(name)] or images


def _rank(topics: Topics, config: NodeConfig, name: str) -> tuple[object, ...]:
    """Return what sorts the likeliest camera first."""
    wants_compressed = config.input.image_transport is ImageTransport.COMPRESSED
    usual = [topic for _, topic in CAMERA_TOPICS[config.pairing.mode]]
    return (
        topics[name].count == 0,
        (topics[name].type_name == COMPRESSED_IMAGE) is not wants_compressed,
        beside(name, 'camera_info') not in topics,
        name.lstrip('/') not in usual,
        'rect' not in name,
        len(name),
        name,
    )


def _named(name: str | None) -> str | None:
    return f'/{name.lstrip("/")}' if name else None


def _all(topics: Topics) -> str:
    return f'the topics are {", ".join(topics) or "none"}'
