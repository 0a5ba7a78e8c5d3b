// moe_up_*, moe_plain_*, moe_down_* of experts in bf16: see moe_tiles.cuh.
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_16(const __grid_constant__ ExpertArgs a) { experts<16, true, true, 4, 1, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_32(const __grid_constant__ ExpertArgs a) { experts<16, true, true, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_64(const __grid_constant__ ExpertArgs a) { experts<16, true, true, 2, 2, 1, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_up_128(const __grid_constant__ ExpertArgs a) { experts<16, true, true, 2, 4, 1, 4, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_16(const __grid_constant__ ExpertArgs a) { experts<16, false, false, 4, 1, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_32(const __grid_constant__ ExpertArgs a) { experts<16, false, false, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_64(const __grid_constant__ ExpertArgs a) { experts<16, false, false, 2, 2, 1, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_down_128(const __grid_constant__ ExpertArgs a) { experts<16, false, false, 2, 4, 1, 4, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_16(const __grid_constant__ ExpertArgs a) { experts<16, false, true, 4, 1, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_32(const __grid_constant__ ExpertArgs a) { experts<16, false, true, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_64(const __grid_constant__ ExpertArgs a) { experts<16, false, true, 2, 2, 1, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_plain_128(const __grid_constant__ ExpertArgs a) { experts<16, false, true, 2, 4, 1, 4, 4, 3>(a); }
