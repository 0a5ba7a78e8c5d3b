//go:build cuda

package cuda

/*
#include <nvrtc.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// Architectures are those that NVRTC compiles for, as compute capability
// without the point: 80, 90, …
func Architectures() ([]int, error) {
	if err := need(libnvrtc); err != nil {
		return nil, err
	}
	var n C.int
	if err := nvrtcError("nvrtcGetNumSupportedArchs", C.nvrtcGetNumSupportedArchs(&n)); err != nil {
		return nil, err
	}
	list := make([]C.int, n)
	if err := nvrtcError("nvrtcGetSupportedArchs", C.nvrtcGetSupportedArchs(&list[0])); err != nil {
		return nil, err
	}
	archs := make([]int, n)
	for i, a := range list {
		archs[i] = int(a)
	}
	return archs, nil
}

// nvrtcVersion is that of an open NVRTC.
func nvrtcVersion() string {
	var major, minor C.int
	if C.nvrtcVersion(&major, &minor) != C.NVRTC_SUCCESS {
		return ""
	}
	return fmt.Sprintf("%d.%d", major, minor)
}

// Compile makes machine code (a cubin) for an architecture ("sm_90a"). The log
// holds the assembler's account of registers and shared memory. It needs no
// GPU and may be called from several goroutines.
func Compile(p kernel.Program, arch string) (code []byte, log string, err error) {
	if err := need(libnvrtc); err != nil {
		return nil, "", err
	}
	options := []string{"--gpu-architecture=" + arch, "--std=c++17", "--ptxas-options=-v"}
	for _, d := range p.Defines {
		options = append(options, "--define-macro="+d)
	}
	text, name := C.CString(p.Text), C.CString(p.Name)
	defer C.free(unsafe.Pointer(text))
	defer C.free(unsafe.Pointer(name))
	var program C.nvrtcProgram
	if err := nvrtcError("nvrtcCreateProgram", C.nvrtcCreateProgram(&program, text, name, 0, nil, nil)); err != nil {
		return nil, "", err
	}
	defer C.nvrtcDestroyProgram(&program)

	argv := (*[1 << 10]*C.char)(C.malloc(C.size_t(len(options)) * C.size_t(unsafe.Sizeof(uintptr(0)))))
	defer C.free(unsafe.Pointer(argv))
	for i, o := range options {
		argv[i] = C.CString(o)
		defer C.free(unsafe.Pointer(argv[i]))
	}
	compiled := nvrtcError("nvrtcCompileProgram", C.nvrtcCompileProgram(program, C.int(len(options)), &argv[0]))
	var size C.size_t
	if C.nvrtcGetProgramLogSize(program, &size) == C.NVRTC_SUCCESS && size > 1 {
		b := make([]byte, size)
		if C.nvrtcGetProgramLog(program, (*C.char)(unsafe.Pointer(&b[0]))) == C.NVRTC_SUCCESS {
			log = strings.TrimRight(string(b), "\x00\n")
		}
	}
	if compiled != nil {
		return nil, log, fmt.Errorf("cuda: compiling %s for %s: %w\n%s", p.Name, arch, compiled, log)
	}
	if err := nvrtcError("nvrtcGetCUBINSize", C.nvrtcGetCUBINSize(program, &size)); err != nil {
		return nil, log, err
	}
	code = make([]byte, size)
	if err := nvrtcError("nvrtcGetCUBIN", C.nvrtcGetCUBIN(program, (*C.char)(unsafe.Pointer(&code[0])))); err != nil {
		return nil, log, err
	}
	return code, log, nil
}

func nvrtcError(call string, r C.nvrtcResult) error {
	if r == C.NVRTC_SUCCESS {
		return nil
	}
	return fmt.Errorf("%s: %s", call, C.GoString(C.nvrtcGetErrorString(r)))
}
