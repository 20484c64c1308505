# SPDX-License-Identifier: Apache-2.0
"""The settings of following a moving camera, a part of those in config.py."""

from __future__ import annotations

from mast3r_ros.choices import OdometryUse, SolverRule
from mast3r_ros.settings import Settings, setting


class SequenceConfig(Settings):
    """How a moving camera is followed and what is kept of its way."""

    enable: bool = setting(
        False, 'The node follows its camera: ~/odometry, ~/path, ~/keyframe and ~/map.'
    )
    world_frame: str = setting(
        'map', "The node's world: z up and x ahead if the first view was level."
    )
    publish_tf: bool = setting(
        False, "The node also tells TF where the camera's optical frame is in world_frame."
    )
    odometry_topic: str = setting(
        '',
        "A nav_msgs/Odometry that tells the node of its camera's motion; empty: there is none.",
    )
    odometry_use: OdometryUse = setting(
        OdometryUse.MOTION,
        'motion tells where a frame is to be expected and bridges what pictures do not tell; '
        'poses are taken as they are.',
    )
    odometry_tolerance_s: float = setting(
        0.05,
        'A frame takes the odometry nearest in time, if it is no farther away than this.',
        low=0.0,
        high=10.0,
        unit='s',
    )
    odometry_to_camera: tuple[float, float, float, float, float, float] = setting(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "The camera's optical frame in the odometry's child frame: x y z roll pitch yaw, as "
        'tf2_echo prints it; all 0: they are one.',
        unit='m and rad',
    )
    map_period_s: float = setting(
        2.0, 'The node publishes ~/map and ~/path so often.', low=0.1, high=3600.0, unit='s'
    )
    still_px: float = setting(
        0.5,
        'A frame that moved no farther than this takes the pose of the one before, without the '
        'engine; 0 asks the engine every time.',
        low=0.0,
        high=100.0,
        unit='px',
    )
    min_inliers: int = setting(
        50, 'Matches that must agree on a pose, or the frame is lost.', low=16, high=100_000
    )
    min_inlier_share: float = setting(
        0.2, 'Share of the matches that must agree on it.', low=0.01, high=1.0
    )
    solver: SolverRule = setting(
        SolverRule.AUTO,
        'Frames without calibration are placed by directions and distances of points (rays) or by '
        'the focal length that the points tell (pixels); auto takes rays until that is settled, '
        'and wherever pixels fail.',
    )
    keyframe_overlap: float = setting(
        0.7, 'A frame that sees less of the last keyframe becomes one.', low=0.05, high=1.0
    )
    keyframe_disparity: float = setting(
        0.15,
        'So does one whose matches moved farther than this, in widths of the image.',
        low=0.01,
        high=1.0,
    )
    keyframes_max: int = setting(
        200,
        'Keyframes kept whole; of older ones only the pose and a thinned cloud stay.',
        low=2,
        high=100_000,
    )
    relocalise_candidates: int = setting(
        5, 'Earlier keyframes that a lost frame is tried against.', low=0, high=100
    )
    loop_edges: int = setting(
        3, 'Earlier keyframes that a new one is tied to; 0 closes no loops.', low=0, high=100
    )
    dynamic_px: float = setting(
        1.5,
        'Flow that the motion of the camera leaves over, from which a pixel counts as moving by '
        'itself; 0 does not look for such.',
        low=0.0,
        high=100.0,
        unit='px of an image 320 wide',
    )
    map_voxel: float = setting(
        0.0,
        'Edge of the cubes of which each keeps one point; 0: half a percent of the first depth.',
        low=0.0,
        high=1000.0,
        unit="the map's",
    )
    map_points_max: int = setting(
        2_000_000,
        'Most points of the map; with more, the cubes grow.',
        low=1000,
        high=100_000_000,
    )
    map_confidence: float = setting(
        1.5, 'Points below this confidence are left out of the map (1 is none).', low=1.0, high=1e6
    )
