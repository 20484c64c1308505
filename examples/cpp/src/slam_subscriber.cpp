// SPDX-License-Identifier: Apache-2.0
// A SLAM front end's reading of the matches in C++: pixels, 3D points, confidence, scale.
//
//     ros2 run slam_subscriber slam_subscriber --ros-args -r camera_info:=/camera/camera_info
//
// camera_info is that of view 2: of the one camera, or of the right one of a stereo pair. Each
// pair prints a line of JSON: how many matches and points, their mean depth, and how far the
// matches moved, which a SLAM system adds up until the next keyframe is due.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <rclcpp/rclcpp.hpp>
#include <sensor_msgs/msg/camera_info.hpp>

#include <mast3r_ros/msg/match_array.hpp>

using mast3r_ros::msg::MatchArray;
using sensor_msgs::msg::CameraInfo;

namespace
{

struct Correspondence
{
  float u_1, v_1, u_2, v_2;  // px of the two input images
  float x, y, z;             // in the optical frame of camera 1
  float confidence;          // to be compared within one confidence_kind only
};

// Returns the matches that have a point; none where the message carries no points.
std::vector<Correspondence> correspondences(const MatchArray & message)
{
  std::vector<Correspondence> found;
  found.reserve(message.x.size());
  for (size_t i = 0; i < message.x.size(); ++i) {
    if (std::isfinite(message.x[i] + message.y[i] + message.z[i])) {
      found.push_back(
        {message.u_1[i], message.v_1[i], message.u_2[i], message.v_2[i], message.x[i],
          message.y[i], message.z[i], message.confidence[i]});
    }
  }
  return found;
}

bool is_metric(const MatchArray & message)
{
  return message.scale_source == "model" || message.scale_source == "stereo_baseline";
}

// Returns the median way of a match from one image to the other in widths of the image.
double median_shift(const MatchArray & message)
{
  std::vector<double> ways;
  for (size_t i = 0; i < message.u_1.size(); ++i) {
    ways.push_back(
      std::hypot(message.u_2[i] - message.u_1[i], message.v_2[i] - message.v_1[i]));
  }
  if (ways.empty()) {
    return 0.0;
  }
  const auto middle = ways.begin() + static_cast<std::ptrdiff_t>(ways.size() / 2);
  std::nth_element(ways.begin(), middle, ways.end());
  return *middle / message.width_1;
}

}  // namespace

class SlamSubscriber : public rclcpp::Node
{
public:
  SlamSubscriber()
  : Node("slam_subscriber")
  {
    // Matches are sent reliably; ten of them may wait. Calibration is sent either way, and asking
    // for best effort takes both.
    matches_ = create_subscription<MatchArray>(
      "mast3r/matches", rclcpp::QoS(10),
      [this](MatchArray::ConstSharedPtr message) {take(*message);});
    calibration_ = create_subscription<CameraInfo>(
      "camera_info", rclcpp::SensorDataQoS(),
      [this](CameraInfo::ConstSharedPtr info) {info_ = std::move(info);});
    // Matches have points while somebody listens to a topic that is made of the cloud. This is the
    // smallest; a SLAM system that wants the cloud subscribes to mast3r/points instead.
    smallest_ = create_subscription<CameraInfo>(
      "mast3r/depth/camera_info", rclcpp::SensorDataQoS(), [](CameraInfo::ConstSharedPtr) {});
  }

private:
  void take(const MatchArray & message)
  {
    if (!info_ || info_->width != message.width_2 || info_->height != message.height_2) {
      RCLCPP_WARN_THROTTLE(
        get_logger(), *get_clock(), 5000, "no camera_info of view 2; remap camera_info to it");
      return;
    }
    const auto found = correspondences(message);  // a SLAM system takes over here
    const auto depth = std::accumulate(
      found.begin(), found.end(), 0.0, [](double sum, const auto & one) {return sum + one.z;});
    std::printf(
      "{\"stamps\": [\"%d.%09u\", \"%d.%09u\"], \"matches\": %zu, \"points\": %zu, "
      "\"unit\": \"%s\", \"depth\": %.9g, \"shift\": %.9g}\n",
      message.header.stamp.sec, message.header.stamp.nanosec, message.header_2.stamp.sec,
      message.header_2.stamp.nanosec, message.u_1.size(), found.size(),
      is_metric(message) ? "m" : "unknown",
      found.empty() ? 0.0 : depth / static_cast<double>(found.size()), median_shift(message));
    std::fflush(stdout);
  }

  CameraInfo::ConstSharedPtr info_;
  rclcpp::Subscription<MatchArray>::SharedPtr matches_;
  rclcpp::Subscription<CameraInfo>::SharedPtr calibration_, smallest_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<SlamSubscriber>());
  rclcpp::shutdown();
  return 0;
}
