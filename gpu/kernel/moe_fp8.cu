// The products of experts in E4M3: see moe_tiles.cuh.
extern "C" __global__ void __launch_bounds__(128, 4) moe_up_16_fp8(const __grid_constant__ ExpertArgs a) { experts<8, true, true, 2, 1, 2, 1, 2, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_up_32_fp8(const __grid_constant__ ExpertArgs a) { experts<8, true, true, 4, 1, 1, 2, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_64_fp8(const __grid_constant__ ExpertArgs a) { experts<8, true, true, 4, 1, 1, 2, 8, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 4) moe_down_16_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, false, 2, 1, 2, 1, 2, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_down_32_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, false, 4, 1, 1, 2, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_64_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, false, 4, 1, 1, 2, 8, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 4) moe_plain_16_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, true, 2, 1, 2, 1, 2, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_plain_32_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, true, 4, 1, 1, 2, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_64_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, true, 4, 1, 1, 2, 8, 3>(a); }
extern "C" __global__ void __launch_bounds__(256) moe_widen_fp8(const __grid_constant__ WidenExpertsArgs a) { widen_experts<8>(a); }
