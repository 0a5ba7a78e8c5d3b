//go:build cuda

package cuda

/*
#cgo CFLAGS: -D_GNU_SOURCE
#cgo LDFLAGS: -ldl -L${SRCDIR}/link
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <cublasLt.h>
#include <cuda.h>
#include "nccl.h"
#include "symbols.h"

typedef struct {
	const char *name;
	void **at;
} troupe_function;

#define DECLARE(name) extern void *troupe_at_##name;
TROUPE_DRIVER(DECLARE, DECLARE)
TROUPE_NVRTC(DECLARE, DECLARE)
TROUPE_BLAS(DECLARE, DECLARE)
TROUPE_NCCL(DECLARE, DECLARE)

#define ROW(name) {#name, &troupe_at_##name},
#define TABLE(all) { static troupe_function table[] = {all(ROW, ROW) {NULL, NULL}}; return table; }
static troupe_function *troupe_driver(void) TABLE(TROUPE_DRIVER)
static troupe_function *troupe_nvrtc(void) TABLE(TROUPE_NVRTC)
static troupe_function *troupe_blas(void) TABLE(TROUPE_BLAS)
static troupe_function *troupe_nccl(void) TABLE(TROUPE_NCCL)

// What stubs point to until their library is open, and for good where it lacks
// the function.
__attribute__((visibility("hidden"))) int troupe_no_function(void) { return CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND; }
__attribute__((visibility("hidden"))) const char *troupe_no_text(void) { return "the library is not open"; }

// The loader's words are the calling thread's, so they are fetched in the same call.
static void *troupe_open(const char *file, const char **error) {
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	*error = library ? NULL : dlerror();
	return library;
}

// troupe_lacks is a function that a library does not have, or NULL.
static const char *troupe_lacks(void *library, const troupe_function *f) {
	while (f->name && dlsym(library, f->name)) f++;
	return f->name;
}

// troupe_bind points a library's stubs into it, as far as it has the functions.
static void troupe_bind(void *library, const troupe_function *f) {
	for (void *p; f->name; f++)
		if ((p = dlsym(library, f->name))) *f->at = p;
}

static const char *troupe_path(void *library) {
	struct link_map *map = NULL;
	return dlinfo(library, RTLD_DI_LINKMAP, &map) || !map ? "" : map->l_name;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// library is one of CUDA's, opened when it is first needed and never closed.
// Its stubs are written before opened returns, and only then called.
type library struct {
	Library
	functions *C.troupe_function
	whole     bool // it is of no use if it lacks a function
	version   func() string
	find      func() Search

	once  sync.Once
	found Found
}

// ncclLibrary is for GPUs that share a model and cannot reach each other's memory.
var ncclLibrary = Library{Name: "NCCL", Files: []string{"libnccl.so.2"}, From: "pip install nvidia-nccl-cu13"}

var (
	libcuda  = &library{Library: driverLibrary, functions: C.troupe_driver(), version: driverVersion, find: here}
	libnvrtc = &library{Library: nvrtcLibrary, functions: C.troupe_nvrtc(), whole: true, version: nvrtcVersion, find: here}
	libnccl  = &library{Library: ncclLibrary, functions: C.troupe_nccl(), whole: true, version: ncclVersion, find: here}
	libblas  = &library{Library: blasLibrary, functions: C.troupe_blas(), whole: true, version: blasVersion, find: here}
)

// Libraries opens all of them, and says for each where it was found or why not.
func Libraries() []Found {
	return []Found{libcuda.opened(), libnvrtc.opened(), libblas.opened()}
}

// need is an error that says which of some libraries is not there, and where it was looked for.
func need(libraries ...*library) error {
	for _, l := range libraries {
		if f := l.opened(); f.Err != nil {
			return fmt.Errorf("cuda: %w", f.Err)
		}
	}
	return nil
}

func (l *library) opened() Found {
	l.once.Do(func() { l.found = l.open() })
	return l.found
}

// open asks the system's loader first, which knows LD_LIBRARY_PATH, and then looks
// where it does not.
func (l *library) open() Found {
	s := l.find()
	if l != libcuda {
		s.newest = majorOf(libcuda.opened().Version)
	}
	f := Found{Library: l.Library}
	var refused []string
	for _, file := range s.candidates(l.Library) {
		found, err := l.try(file)
		if err == nil {
			f.Path, f.Version = found, l.version()
			return f
		}
		if path.IsAbs(file) || !strings.Contains(err.Error(), "cannot open shared object file") {
			refused = append(refused, err.Error())
		}
	}
	f.Err = &NotFound{l.Library, s}
	if len(refused) > 0 {
		f.Err = fmt.Errorf("%s cannot be used: %s", l.Name, strings.Join(refused, "; "))
	}
	return f
}

func majorOf(version string) int {
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major) // 0 of none
	return n
}

// try opens one file, absolute or for the loader to find.
func (l *library) try(file string) (found string, err error) {
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	var why *C.char
	handle := C.troupe_open(name, &why)
	if handle == nil {
		return "", errors.New(C.GoString(why))
	}
	found = C.GoString(C.troupe_path(handle))
	if lacks := C.troupe_lacks(handle, l.functions); lacks != nil && l.whole {
		C.dlclose(handle)
		return "", fmt.Errorf("%s lacks %s", found, C.GoString(lacks))
	}
	C.troupe_bind(handle, l.functions)
	l.openBeside(found)
	return found, nil
}

// openBeside opens what a library asks the loader for by name when it is used,
// which would not look where the library lies.
func (l *library) openBeside(found string) {
	if l.beside == "" {
		return
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(found), l.beside)) // the pattern is good
	for _, file := range files {
		name := C.CString(file)
		var why *C.char
		C.troupe_open(name, &why) // what it lacks then, NVRTC says
		C.free(unsafe.Pointer(name))
	}
}
