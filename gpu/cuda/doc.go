// Package cuda runs models on NVIDIA GPUs, behind the build tag "cuda".
package cuda
