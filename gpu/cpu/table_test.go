package cpu

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
)

const (
	tableFile = "../../bench/results/cpu.md"
	tableHead = "| blocks | bits a weight in files | whole numbers of | inputs a group | with offsets | bits a weight here |\n| --- | --- | --- | --- | --- | --- |\n"
)

// The table of blocks is what the code does with them; go test ./gpu/cpu -run
// TestBlocksTable -update writes it.
func TestBlocksTable(t *testing.T) {
	var table strings.Builder
	for _, e := range append(model.Blocks, model.MXFP4) {
		tensor := &model.Tensor{Encoding: model.Plain(e), Shape: []int{panelWidth, 256}}
		if e == model.MXFP4 {
			tensor.Encoding = model.Encoding{Element: e, Scale: model.Exponent8, Rows: 1, Columns: 32}
		}
		source := slotOf(tensor).Sources[0]
		h, kept := keeping(&source, 4, 6, 8)
		if !kept {
			t.Fatalf("%s is not kept", e)
		}
		bits := func(bytes int) string {
			return strings.TrimSuffix(fmt.Sprintf("%.4g", 8*float64(bytes)/(256*panelWidth)), ".0")
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %s | %s |\n", e, bits(int(tensor.Encoding.Bytes(tensor.Shape))), h.dtype, h.group,
			map[bool]string{true: "yes", false: ""}[h.offsets], bits(h.panelBytes(256)))
	}
	data, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), tableHead)
	if !found {
		t.Fatalf("%s has no table of blocks", tableFile)
	}
	have := rest[:strings.Index(rest+"\n\n", "\n\n")+1]
	if have == table.String() {
		return
	}
	if !*update {
		t.Errorf("%s is not what the code does; write it with -update:\n%s", tableFile, table.String())
	} else if err := os.WriteFile(tableFile, []byte(before+tableHead+table.String()+rest[len(have):]), 0o644); err != nil {
		t.Fatal(err)
	}
}
