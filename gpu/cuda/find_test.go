package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// disk has files with these paths.
func disk(paths ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, p := range paths {
		m[strings.TrimPrefix(p, "/")] = &fstest.MapFile{}
	}
	return m
}

func TestCandidatesAreTheLoadersThenThoseOnDisk(t *testing.T) {
	root := disk(
		"/home/u/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
		"/home/u/venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
		"/usr/lib/python3/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
		"/usr/local/cuda-12.9/lib64/libnvrtc.so.12",
		"/usr/local/cuda-13.0/lib64/libnvrtc.so.13",
		"/usr/local/cuda-13.1/lib64/libnvrtc.so.13",
		"/opt/toolkit/lib64/libnvrtc.so.13",
		"/elsewhere/lib/libnvrtc.so.13",
	)
	env := map[string]string{"CUDA_HOME": "/opt/toolkit", "PATH": "/home/u/venv/bin:/usr/bin:relative/bin::/sbin"}
	s := NewSearch(func(name string) string { return env[name] }, root)
	want := []string{
		"libnvrtc.so.13", "libnvrtc.so.12",
		"/opt/toolkit/lib64/libnvrtc.so.13",
		"/home/u/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
		"/usr/local/cuda-13.1/lib64/libnvrtc.so.13",
		"/usr/local/cuda-13.0/lib64/libnvrtc.so.13",
		"/home/u/venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
		"/usr/lib/python3/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
		"/usr/local/cuda-12.9/lib64/libnvrtc.so.12",
	}
	if got := s.candidates(nvrtcLibrary); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.newest = 12 // the driver's
	for _, file := range s.candidates(nvrtcLibrary) {
		if strings.HasSuffix(file, ".13") {
			t.Errorf("%s, which a driver for CUDA 12 does not run", file)
		}
	}
}

func TestFindSaysWhereItLooked(t *testing.T) {
	env := map[string]string{"LD_LIBRARY_PATH": "/a:/b", "CONDA_PREFIX": "/conda"}
	root := disk("/b/libcuda.so.1", "/usr/lib64/libcuda.so.1", "/conda/lib/python3.11/site-packages/nvidia/cublas/lib/libcublasLt.so.12")
	found := NewSearch(func(name string) string { return env[name] }, root).Find()
	if found[0].Path != "/b/libcuda.so.1" || found[0].Err != nil {
		t.Errorf("libcuda: %+v", found[0])
	}
	if want := "/conda/lib/python3.11/site-packages/nvidia/cublas/lib/libcublasLt.so.12"; found[2].Path != want {
		t.Errorf("cuBLASLt at %q, want %q", found[2].Path, want)
	}
	err := found[1].Err
	if err == nil {
		t.Fatal("NVRTC was found where there is none")
	}
	for _, want := range []string{"libnvrtc.so.13 or libnvrtc.so.12", "LD_LIBRARY_PATH is /a:/b", "/conda/lib/python3*/", "/usr/local/cuda/lib64", "pip install nvidia-cuda-nvrtc"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	missing := new(NotFound)
	if !errors.As(err, &missing) || strings.Contains(missing.Brief(), "/usr/local") {
		t.Errorf("%v", missing)
	}
}
