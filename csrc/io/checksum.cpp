#include "csrc/io/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace gemloupe {
namespace {

uint64_t word(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

}  // namespace

void Checksum64::add(std::span<const uint8_t> bytes) {
  const auto mix = [](uint64_t lane, const uint8_t* p) { return std::rotl(lane + word(p) * kPrime[1], 31) * kPrime[0]; };
  const uint8_t *p = bytes.data(), *end = p + bytes.size();
  const size_t held = bytes_ % 32;
  bytes_ += bytes.size();
  if (held) {
    const size_t taken = std::min<size_t>(32 - held, bytes.size());
    std::memcpy(rest_ + held, p, taken);
    p += taken;
    if (held + taken < 32) return;
    for (int i = 0; i < 4; ++i) lane_[i] = mix(lane_[i], rest_ + 8 * i);
  }
  uint64_t a = lane_[0], b = lane_[1], c = lane_[2], d = lane_[3];
  for (; end - p >= 32; p += 32) {
    a = mix(a, p);
    b = mix(b, p + 8);
    c = mix(c, p + 16);
    d = mix(d, p + 24);
  }
  lane_[0] = a, lane_[1] = b, lane_[2] = c, lane_[3] = d;
  if (p != end) std::memcpy(rest_, p, static_cast<size_t>(end - p));
}

uint64_t Checksum64::value() const {
  uint64_t h = kPrime[4];
  if (bytes_ >= 32) {
    h = std::rotl(lane_[0], 1) + std::rotl(lane_[1], 7) + std::rotl(lane_[2], 12) + std::rotl(lane_[3], 18);
    for (const uint64_t lane : lane_) h = (h ^ std::rotl(lane * kPrime[1], 31) * kPrime[0]) * kPrime[0] + kPrime[3];
  }
  h += bytes_;
  const uint8_t *p = rest_, *end = rest_ + bytes_ % 32;
  for (; end - p >= 8; p += 8) h = std::rotl(h ^ std::rotl(word(p) * kPrime[1], 31) * kPrime[0], 27) * kPrime[0] + kPrime[3];
  if (end - p >= 4) {
    uint32_t half;
    std::memcpy(&half, p, 4);
    h = std::rotl(h ^ half * kPrime[0], 23) * kPrime[1] + kPrime[2];
    p += 4;
  }
  for (; p != end; ++p) h = std::rotl(h ^ *p * kPrime[4], 11) * kPrime[0];
  h = (h ^ h >> 33) * kPrime[1];
  h = (h ^ h >> 29) * kPrime[2];
  return h ^ h >> 32;
}

}  // namespace gemloupe
