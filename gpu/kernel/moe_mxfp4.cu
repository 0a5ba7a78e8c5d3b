// The products of experts in MXFP4: see moe_tiles.cuh.
extern "C" __global__ void __launch_bounds__(128, 4) moe_up_16_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, true, true, 2, 1, 2, 1, 2, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_up_32_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, true, true, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_64_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, true, true, 4, 1, 1, 2, 8, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 4) moe_down_16_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, false, 2, 1, 2, 1, 2, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_down_32_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, false, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_64_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, false, 4, 1, 1, 2, 8, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 4) moe_plain_16_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, true, 2, 1, 2, 1, 2, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 3) moe_plain_32_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, true, 4, 1, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_64_mxfp4(const __grid_constant__ ExpertArgs a) { experts<4, false, true, 4, 1, 1, 2, 8, 4>(a); }
extern "C" __global__ void __launch_bounds__(256) moe_widen_mxfp4(const __grid_constant__ WidenExpertsArgs a) { widen_experts<4>(a); }
