// SPDX-License-Identifier: Apache-2.0
// Reads a serialised MatchArray from a file and prints what is in it as JSON: headers, texts, and
// of each array its size, how many of its values are numbers, and their sum.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <rmw/rmw.h>
#include <rosidl_typesupport_cpp/message_type_support.hpp>

#include <mast3r_ros/msg/match_array.hpp>

using mast3r_ros::msg::MatchArray;

namespace
{

// Returns whether the bytes, as they travel between nodes, are a whole message.
bool read(std::vector<uint8_t> & bytes, MatchArray & message)
{
  auto serialised = rmw_get_zero_initialized_serialized_message();
  serialised.buffer = bytes.data();
  serialised.buffer_length = serialised.buffer_capacity = bytes.size();
  const auto * support = rosidl_typesupport_cpp::get_message_type_support_handle<MatchArray>();
  return rmw_deserialize(&serialised, support, &message) == RMW_RET_OK;
}

void print(const char * name, const std_msgs::msg::Header & header)
{
  std::printf(
    "\"%s\": [\"%s\", %d, %u], ", name, header.frame_id.c_str(), header.stamp.sec,
    header.stamp.nanosec);
}

void print(const char * name, const std::vector<float> & values)
{
  size_t numbers = 0;
  double sum = 0.0;
  for (const float value : values) {
    if (std::isfinite(value)) {
      ++numbers;
      sum += value;
    }
  }
  std::printf("\"%s\": [%zu, %zu, %.17g], ", name, values.size(), numbers, sum);
}

}  // namespace

int main(int argc, char ** argv)
{
  if (argc != 2) {
    std::fprintf(stderr, "use: match_reader FILE\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  MatchArray message;
  if (!read(bytes, message)) {
    std::fprintf(stderr, "%s holds no MatchArray\n", argv[1]);
    return 1;
  }
  std::printf("{");
  print("header", message.header);
  print("header_2", message.header_2);
  print("u_1", message.u_1);
  print("v_1", message.v_1);
  print("u_2", message.u_2);
  print("v_2", message.v_2);
  print("confidence", message.confidence);
  print("x", message.x);
  print("y", message.y);
  print("z", message.z);
  std::printf(
    "\"sizes\": [%u, %u, %u, %u], ", message.width_1, message.height_1, message.width_2,
    message.height_2);
  std::printf(
    "\"confidence_kind\": \"%s\", \"scale_source\": \"%s\"}\n", message.confidence_kind.c_str(),
    message.scale_source.c_str());
  return 0;
}
