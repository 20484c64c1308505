# SPDX-License-Identifier: Apache-2.0
"""The camera of a bag, or its stereo pair, as frames of a moving camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.camera_topics import CameraTopics
from mast3r_ros.bags.frame_stream import FrameStream
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import Tell
from mast3r_ros.bags.replay import Part
from mast3r_ros.config import NodeConfig, PairingMode
from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.pairing import make_pairing
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.frames import SequenceFrame
from mast3r_ros.sequence.picture_sources import Selection


class BagFrames:
    """Frames of a bag, each with its calibration; those of a stereo pair with both pictures.

    :param part: which part of the bag.
    """

    def __init__(
        self,
        bag: Bag,
        cameras: Sequence[CameraTopics],
        config: NodeConfig,
        selection: Selection,
        tell: Tell,
        part: Part | None = None,
    ) -> None:
        self._bag, self._cameras, self._config = bag, cameras, config
        self._selection = selection
        self._stream = FrameStream(cameras, config.input, MessageTypes(), tell)
        self._window_ns = (part or Part()).window_ns(bag)
        self._pose: tuple[Camera, Camera, Matrix] | None = None
        self.total = self._expected()

    def frames(self) -> Iterator[SequenceFrame]:
        """Yield the frames that are taken."""
        infos = [camera.info for camera in self._cameras if camera.info]
        self._stream.learn_calibration(self._bag.first_messages(infos, self._window_ns[0]))
        topics = [name for camera in self._cameras for name in camera.names]
        for number, views in enumerate(self._views(topics)):
            if self._selection.is_over(number):
                return
            if self._selection.takes(number):
                yield self._frame(views)

    def _expected(self) -> int | None:
        """Return about how many frames there will be, or None where the bag does not tell."""
        counts = [self._bag.topics[camera.image].count for camera in self._cameras]
        begin_ns, end_ns = self._bag.start_ns, self._bag.end_ns
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or begin_ns is None or end_ns is None:
            return None
        part_ns = min(self._window_ns[1], end_ns) - max(self._window_ns[0], begin_ns)
        share = min(max(part_ns / max(end_ns - begin_ns, 1), 0.0), 1.0)
        return self._selection.count(round(min(known) * share))

    def _views(self, topics: list[str]) -> Iterator[tuple[View, ...]]:
        stream = self._stream.frames(self._bag.messages(topics, *self._window_ns))
        if self._config.pairing.mode is PairingMode.SEQUENCE:
            for _, frame in stream:
                yield (frame.view(),)
            return
        pairing = make_pairing(self._config.pairing)
        for source, frame in stream:
            for left, right in pairing.add(source, frame):
                yield left.view(), right.view()
        for left, right in pairing.finish():
            yield left.view(), right.view()

    def _frame(self, views: tuple[View, ...]) -> SequenceFrame:
        if len(views) == 1:
            return SequenceFrame(self._selection.sized(views[0]))
        left, right = views
        if left.camera is None or right.camera is None:
            raise InvalidInput(
                'the stereo pair has no calibration; record both camera_infos, or follow one '
                'camera with --mode sequence'
            )
        pose = self._stereo_pose(left.camera, right.camera)
        return SequenceFrame(self._selection.sized(left), self._selection.sized(right), pose)

    def _stereo_pose(self, left: Camera, right: Camera) -> Matrix:
        """Return the pair's pose, computed once a pair of calibrations."""
        known = self._pose
        if known is None or known[0] is not left or known[1] is not right:
            known = left, right, stereo_pose(left, right)
            self._pose = known
        return known[2]
