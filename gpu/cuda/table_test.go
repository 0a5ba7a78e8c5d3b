package cuda

import (
	"cmp"
	"encoding/json"
	commandline "flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

var update = commandline.Bool("update", false, "write bench/results/families.md anew")

const tableFile = "../../bench/results/families.md"

// tableHead stands above the table, with the formats of the devices.
const tableHead = `# Families on devices

Made of the code and of the reports beside this file by

    go test ./gpu/cuda -run TestFamiliesTable -update

which otherwise sees that it is true. Weights in checkpoints, on the processor: %s. On a GPU: %s.

A share is of the limit that ` + "`bench offline`" + ` says, on an H200 with random weights. Of a GPU it is told how many kernels a layer is (of a pass
of one token and of 256) and what is slower than it might be: attention over prompts where heads are not of 64 or 128, which
Hopper's kernel takes; latent attention, by one kernel for prompts and decoding; products of few rows where a width is no multiple of what the
fused kernels take.

| architecture | processor | GPU | kernels a layer | measured on an H200 | slower on a GPU |
| --- | --- | --- | --- | --- | --- |
`

// row is a family in the table: a checkpoint of ours, and what is published of it.
type row struct {
	own       *model.Model
	published map[string]*model.Config
	measured  []string
}

// The table of families, devices, formats and measured shares is what the code
// and the reports say.
func TestFamiliesTable(t *testing.T) {
	rows := map[string]*row{}
	of := func(c *model.Config) *row {
		if rows[c.Architecture] == nil {
			rows[c.Architecture] = &row{published: map[string]*model.Config{}}
		}
		return rows[c.Architecture]
	}
	for _, c := range modeltest.Own(t) {
		m := c.Open(t)
		of(&m.Config).own = m
	}
	for _, c := range modeltest.Families(t) {
		if strings.HasPrefix(c.Name, "own-families/") {
			m := c.Open(t)
			of(&m.Config).own = m
		}
	}
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		of(&m.Config).published[name] = &m.Config
	}
	measured(t, rows)
	text := fmt.Sprintf(tableHead, cpu.Formats, Formats)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if rows[name].own == nil || len(rows[name].published) == 0 {
			t.Errorf("%s has no checkpoint in gpu/model/testdata, or no published configuration", name)
			continue
		}
		text += rows[name].line(name) + "\n"
	}
	if *update {
		if err := os.WriteFile(tableFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(tableFile); err != nil || string(have) != text {
		t.Errorf("%s is not what the code says (%v); write it with -update:\n%s", tableFile, err, text)
	}
}

// measured enters what reports say of offline runs.
func measured(t *testing.T, rows map[string]*row) {
	files, err := filepath.Glob("../../bench/results/offline-*-h200.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no reports:", err)
	}
	for _, file := range files {
		var report struct {
			Requests   int
			Throughput float64 `json:"output_throughput"`
			Limit      struct {
				Throughput float64 `json:"output_throughput"`
			} `json:"limit"`
			Environment struct {
				Model, DType string
				Ranks        int
			} `json:"environment"`
		}
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &report)
		}
		if err != nil {
			t.Fatal(file, ": ", err)
		}
		e := report.Environment
		name := fmt.Sprintf("%s, %s", e.Model, e.DType)
		if e.Ranks > 1 {
			name += fmt.Sprintf(" on %d GPUs", e.Ranks)
		}
		if report.Requests == 1 {
			name += ", one stream"
		}
		for _, r := range rows {
			if r.published[e.Model] != nil && report.Limit.Throughput > 0 {
				r.measured = append(r.measured, fmt.Sprintf("%s: %.0f%%", name, 100*report.Throughput/report.Limit.Throughput))
			}
		}
	}
}

func (r *row) line(name string) string {
	processor, gpu := "yes", "yes"
	d, err := cpu.Open(device.Spec{Model: r.own, Slots: 1, NumPages: 4, MaxStepTokens: 8})
	if err != nil {
		processor = err.Error()
	} else {
		_ = d.Close()
	}
	if _, err := settle(&device.Spec{Model: r.own}, 90); err != nil {
		gpu = err.Error()
	}
	var slower []string
	p := r.own.Config.Program
	for _, name := range slices.Sorted(maps.Keys(r.published)) {
		p = r.published[name].Program
		s := shapeOf(p)
		s.Hopper = 1
		for says, is := range map[string]bool{
			"latent attention": s.Latent,
			fmt.Sprintf("prompts' attention, heads of %d", s.HeadDim): !s.Latent && !s.HopperAttention(),
			"products of few rows": lower.New(p).Skinny == 0,
		} {
			if is && !slices.Contains(slower, says) {
				slower = append(slower, says)
			}
		}
	}
	slices.Sort(slower)
	l := lower.New(p)
	kernels := func(tokens int) float64 { return float64(len(l.Body(tokens))) / float64(layers(p)) }
	return fmt.Sprintf("| %s | %s | %s | %.1f, %.1f | %s | %s |", name, processor, gpu, kernels(1), kernels(256),
		cmp.Or(strings.Join(r.measured, "; "), "not measured"), cmp.Or(strings.Join(slower, "; "), "–"))
}

// layers is how many layers keep something of a request.
func layers(p *program.Program) (n int) {
	for _, op := range p.Ops {
		switch op.(type) {
		case *program.Attend, *program.Delta:
			n++
		}
	}
	return n
}
