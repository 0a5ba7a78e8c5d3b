// The functions of CUDA's libraries that this program calls: by itself, and
// through gorgonia.org/cu. Each has a function of its name in stubs.S, which jumps
// to the library's when libraries.go has opened that. What the linker calls
// undefined is to be added here, under the name that the headers map it to
// (cuMemAlloc is cuMemAlloc_v2).
//
//	STATUS  returns a status, like nearly all
//	TEXT    returns a string

#define TROUPE_DRIVER(STATUS, TEXT) \
	STATUS(cuArray3DCreate_v2) STATUS(cuArray3DGetDescriptor_v2) STATUS(cuArrayCreate_v2) STATUS(cuArrayDestroy) \
	STATUS(cuArrayGetDescriptor_v2) STATUS(cuCtxCreate_v2) STATUS(cuCtxDestroy_v2) STATUS(cuCtxDisablePeerAccess) \
	STATUS(cuCtxEnablePeerAccess) STATUS(cuCtxGetApiVersion) STATUS(cuCtxGetCacheConfig) STATUS(cuCtxGetCurrent) \
	STATUS(cuCtxGetDevice) STATUS(cuCtxGetFlags) STATUS(cuCtxGetLimit) STATUS(cuCtxGetSharedMemConfig) \
	STATUS(cuCtxGetStreamPriorityRange) STATUS(cuCtxPopCurrent_v2) STATUS(cuCtxPushCurrent_v2) \
	STATUS(cuCtxResetPersistingL2Cache) STATUS(cuCtxSetCacheConfig) STATUS(cuCtxSetCurrent) STATUS(cuCtxSetLimit) \
	STATUS(cuCtxSetSharedMemConfig) STATUS(cuCtxSynchronize) STATUS(cuDeviceCanAccessPeer) STATUS(cuDeviceGet) \
	STATUS(cuDeviceGetAttribute) STATUS(cuDeviceGetCount) STATUS(cuDeviceGetName) STATUS(cuDeviceGetP2PAttribute) \
	STATUS(cuDeviceGetUuid_v2) STATUS(cuDevicePrimaryCtxGetState) STATUS(cuDevicePrimaryCtxRelease_v2) \
	STATUS(cuDevicePrimaryCtxReset_v2) STATUS(cuDevicePrimaryCtxRetain) STATUS(cuDevicePrimaryCtxSetFlags_v2) \
	STATUS(cuDeviceTotalMem_v2) STATUS(cuDriverGetVersion) STATUS(cuEventCreate) STATUS(cuEventDestroy_v2) \
	STATUS(cuEventElapsedTime) STATUS(cuEventQuery) STATUS(cuEventRecord) STATUS(cuEventSynchronize) \
	STATUS(cuFuncGetAttribute) STATUS(cuFuncLoad) STATUS(cuFuncSetAttribute) STATUS(cuFuncSetCacheConfig) \
	STATUS(cuFuncSetSharedMemConfig) STATUS(cuGetErrorName) STATUS(cuGetErrorString) \
	STATUS(cuGraphAddChildGraphNode) STATUS(cuGraphAddDependencies) STATUS(cuGraphAddEmptyNode) \
	STATUS(cuGraphAddHostNode) STATUS(cuGraphAddKernelNode_v2) STATUS(cuGraphAddMemcpyNode) \
	STATUS(cuGraphAddMemsetNode) STATUS(cuGraphClone) STATUS(cuGraphCreate) STATUS(cuGraphDestroy) \
	STATUS(cuGraphDestroyNode) STATUS(cuGraphExecDestroy) STATUS(cuGraphGetEdges) \
	STATUS(cuGraphInstantiateWithFlags) STATUS(cuGraphLaunch) STATUS(cuGraphUpload) STATUS(cuInit) \
	STATUS(cuLaunchKernel) STATUS(cuLaunchKernelEx) STATUS(cuLinkAddData_v2) STATUS(cuLinkAddFile_v2) \
	STATUS(cuLinkComplete) STATUS(cuLinkCreate_v2) STATUS(cuLinkDestroy) STATUS(cuMemAdvise) \
	STATUS(cuMemAllocManaged) STATUS(cuMemAllocPitch_v2) STATUS(cuMemAlloc_v2) STATUS(cuMemFreeHost) \
	STATUS(cuMemFree_v2) STATUS(cuMemGetAddressRange_v2) STATUS(cuMemGetInfo_v2) STATUS(cuMemHostAlloc) \
	STATUS(cuMemPrefetchAsync) STATUS(cuMemcpy) STATUS(cuMemcpy2DAsync_v2) STATUS(cuMemcpy2DUnaligned_v2) \
	STATUS(cuMemcpy2D_v2) STATUS(cuMemcpy3DAsync_v2) STATUS(cuMemcpy3DPeer) STATUS(cuMemcpy3DPeerAsync) \
	STATUS(cuMemcpy3D_v2) STATUS(cuMemcpyAsync) STATUS(cuMemcpyAtoA_v2) STATUS(cuMemcpyAtoD_v2) \
	STATUS(cuMemcpyAtoHAsync_v2) STATUS(cuMemcpyAtoH_v2) STATUS(cuMemcpyDtoA_v2) STATUS(cuMemcpyDtoDAsync_v2) \
	STATUS(cuMemcpyDtoD_v2) STATUS(cuMemcpyDtoHAsync_v2) STATUS(cuMemcpyDtoH_v2) STATUS(cuMemcpyHtoAAsync_v2) \
	STATUS(cuMemcpyHtoA_v2) STATUS(cuMemcpyHtoDAsync_v2) STATUS(cuMemcpyHtoD_v2) STATUS(cuMemcpyPeer) \
	STATUS(cuMemcpyPeerAsync) STATUS(cuMemsetD16Async) STATUS(cuMemsetD16_v2) STATUS(cuMemsetD2D16Async) \
	STATUS(cuMemsetD2D16_v2) STATUS(cuMemsetD2D32Async) STATUS(cuMemsetD2D32_v2) STATUS(cuMemsetD2D8Async) \
	STATUS(cuMemsetD2D8_v2) STATUS(cuMemsetD32Async) STATUS(cuMemsetD32_v2) STATUS(cuMemsetD8Async) \
	STATUS(cuMemsetD8_v2) STATUS(cuModuleGetFunction) STATUS(cuModuleGetGlobal_v2) STATUS(cuModuleGetSurfRef) \
	STATUS(cuModuleGetTexRef) STATUS(cuModuleLoad) STATUS(cuModuleLoadData) STATUS(cuModuleLoadDataEx) \
	STATUS(cuModuleLoadFatBinary) STATUS(cuModuleUnload) STATUS(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
	STATUS(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) STATUS(cuPointerGetAttribute) \
	STATUS(cuPointerSetAttribute) STATUS(cuStreamAttachMemAsync) STATUS(cuStreamBeginCapture_v2) \
	STATUS(cuStreamCreate) STATUS(cuStreamCreateWithPriority) STATUS(cuStreamDestroy_v2) \
	STATUS(cuStreamEndCapture) STATUS(cuStreamGetFlags) STATUS(cuStreamGetPriority) STATUS(cuStreamQuery) \
	STATUS(cuStreamSynchronize) STATUS(cuStreamWaitEvent) STATUS(cuStreamWaitValue32_v2) \
	STATUS(cuStreamWriteValue32_v2) STATUS(cuSurfRefGetArray) STATUS(cuSurfRefSetArray) \
	STATUS(cuTexRefGetAddressMode) STATUS(cuTexRefGetAddress_v2) STATUS(cuTexRefGetArray) \
	STATUS(cuTexRefGetBorderColor) STATUS(cuTexRefGetFilterMode) STATUS(cuTexRefGetFlags) \
	STATUS(cuTexRefGetFormat) STATUS(cuTexRefGetMaxAnisotropy) STATUS(cuTexRefSetAddress2D_v3) \
	STATUS(cuTexRefSetAddressMode) STATUS(cuTexRefSetAddress_v2) STATUS(cuTexRefSetArray) \
	STATUS(cuTexRefSetBorderColor) STATUS(cuTexRefSetFilterMode) STATUS(cuTexRefSetFlags) \
	STATUS(cuTexRefSetFormat) STATUS(cuTexRefSetMaxAnisotropy) STATUS(cuTexRefSetMipmapFilterMode) \
	STATUS(cuTexRefSetMipmapLevelBias) STATUS(cuTexRefSetMipmapLevelClamp) STATUS(cuTensorMapEncodeTiled)

#define TROUPE_NVRTC(STATUS, TEXT) \
	STATUS(nvrtcCompileProgram) STATUS(nvrtcCreateProgram) STATUS(nvrtcDestroyProgram) STATUS(nvrtcGetCUBIN) \
	STATUS(nvrtcGetCUBINSize) TEXT(nvrtcGetErrorString) STATUS(nvrtcGetNumSupportedArchs) \
	STATUS(nvrtcGetProgramLog) STATUS(nvrtcGetProgramLogSize) STATUS(nvrtcGetSupportedArchs) STATUS(nvrtcVersion)

#define TROUPE_BLAS(STATUS, TEXT) \
	STATUS(cublasLtCreate) STATUS(cublasLtDestroy) TEXT(cublasLtGetStatusString) STATUS(cublasLtGetVersion) \
	STATUS(cublasLtMatmul) STATUS(cublasLtMatmulAlgoGetHeuristic) STATUS(cublasLtMatmulDescInit_internal) \
	STATUS(cublasLtMatmulDescSetAttribute) STATUS(cublasLtMatmulPreferenceCreate) \
	STATUS(cublasLtMatmulPreferenceDestroy) STATUS(cublasLtMatmulPreferenceSetAttribute) \
	STATUS(cublasLtMatrixLayoutInit_internal)

#define TROUPE_NCCL(STATUS, TEXT) \
	STATUS(ncclAllReduce) STATUS(ncclCommAbort) STATUS(ncclCommInitRank) TEXT(ncclGetErrorString) \
	STATUS(ncclGetUniqueId) STATUS(ncclGetVersion)
