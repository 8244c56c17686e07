// bytes.h where products are added to int32 as they are: sums start from the law's own offsets and no others.
#pragma once

namespace SHOESTRING_VARIANT {
namespace {

constexpr int OFFSETS_32[] = {8, 16};
constexpr int SIGNED_OFFSET = 0;
constexpr Starts STARTS_256[] = {{32, 16}};
constexpr Starts starts_of(shoestring::WeightType type) {
    return type == shoestring::WeightType::Q6_K ? Starts{32, 16} : Starts{0, 32};
}

}  // namespace
}  // namespace SHOESTRING_VARIANT
