#pragma once

namespace miniinfer {

// Under an emulator, which is some 50 times slower, the largest cases are left out or made smaller.
#ifdef MINIINFER_TESTS_EMULATED
inline constexpr bool kEmulated = true;
#else
inline constexpr bool kEmulated = false;
#endif

}  // namespace miniinfer
