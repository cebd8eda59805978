#include "csrc/io/not_a_model.h"

#include <algorithm>
#include <string_view>

#include "csrc/io/printable.h"

namespace gemloupe {
namespace {

using std::string_view_literals::operator""sv;

constexpr char kConvert[] = "; convert the model to GGUF or safetensors (a folder with config.json) first";
constexpr char kImage[] = "an image; expected a .gguf or .safetensors file";
constexpr char kPickle[] = "a Python pickle (.bin, .pt or .pth)";
constexpr char kPacked[] = "a compressed file; unpack it first";
constexpr char kPage[] = "a web page, not the model; download the file itself";
constexpr char kOldGgml[] = "a GGML file from before GGUF";

struct Beginning {
  std::string_view bytes;
  const char* what;
  bool convertible = false;
};
constexpr Beginning kBeginnings[] = {
    {"GEMLOUPE"sv, "a packed model of gemloupe (.gem), which has no tensors to list; load it as a model"},
    {"version https://git-lfs"sv, "a Git LFS pointer, not the model itself; run git lfs pull in its folder"},
    {"PK\x03\x04"sv, "a zip archive, as torch.save writes for .bin, .pt and .pth files", true},
    {"\x80\x02"sv, kPickle, true},
    {"\x80\x03"sv, kPickle, true},
    {"\x80\x04"sv, kPickle, true},
    {"\x80\x05"sv, kPickle, true},
    {"lmgg"sv, kOldGgml, true},
    {"tjgg"sv, kOldGgml, true},
    {"fmgg"sv, kOldGgml, true},
    {"algg"sv, kOldGgml, true},
    {"\x89HDF"sv, "an HDF5 file", true},
    {"\x89PNG"sv, kImage},
    {"\xFF\xD8\xFF"sv, kImage},
    {"GIF8"sv, kImage},
    {"\x1F\x8B"sv, kPacked},
    {"\xFD\x37zXZ"sv, kPacked},
    {"7z\xBC\xAF"sv, kPacked},
    {"\x28\xB5\x2F\xFD"sv, kPacked},
    {"<!DOCTYPE"sv, kPage},
    {"<!doctype"sv, kPage},
    {"<html"sv, kPage},
};

bool is_text(std::string_view s, bool cut) {
  for (const char c : s) {
    if (uint8_t(c) < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f') return false;
  }
  for (size_t last = 0; last < (cut ? 4u : 1u); ++last) {  // the last character may be cut
    if (is_utf8(s.substr(0, s.size() - last))) return true;
  }
  return false;
}

}  // namespace

std::string not_a_model(std::span<const uint8_t> file) {
  const std::string_view s(reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 512));
  for (const Beginning& beginning : kBeginnings) {
    if (s.starts_with(beginning.bytes)) return std::string(beginning.what) + (beginning.convertible ? kConvert : "");
  }
  if (s.empty() || !is_text(s, s.size() < file.size())) return "";
  if (s[0] == '{') return "a JSON file; give the folder it lies in, with the .safetensors files";
  return "a text file; expected a .gguf or .safetensors file";
}

}  // namespace gemloupe
