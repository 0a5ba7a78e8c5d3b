package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// A request that a damaged checkpoint cannot answer says so, and the log names the weights.
func TestDamagedWeightsAreNamed(t *testing.T) {
	const checkpoint = "../../gpu/model/builtin/checkpoint"
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(checkpoint)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "model.safetensors")
	weights, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(weights) - 64; i < len(weights); i += 2 { // of the last tensor
		weights[i], weights[i+1] = 0xc0, 0x7f
	}
	if err := os.WriteFile(file, weights, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	var log bytes.Buffer
	e := &tested{t: t}
	cfg := Config{Model: m, Log: zerolog.New(&log), Deliver: e.take, Open: func() (device.Device, error) {
		return gpu.Open(device.Spec{Device: "cpu", Model: m})
	}}
	if e.Local, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	o := e.submit(&wire.Request{Prompt: []int32{40, 41, 42}, MaxTokens: 3}).end()
	if o.Fault == nil || !strings.Contains(o.Fault.Msg, "is not a number") {
		t.Errorf("%+v", o.Fault)
	}
	e.damage.over.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, `"tensors":1,"first":["model.`) {
		t.Errorf("the log says %s", text)
	}
}
