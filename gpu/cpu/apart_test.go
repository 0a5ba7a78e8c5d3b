package cpu

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/apart.json anew, of the tests that are run")

// apartFile has what was measured, by test.
const apartFile = "testdata/apart.json"

// apartness is how far log-probabilities are from transformers' in float32: at most, and
// the root of the mean square.
type apartness struct {
	Most float64 `json:"most"`
	RMS  float64 `json:"rms"`
}

// slack is by how much other instructions' roundings may be farther than those that were
// measured.
const slack = 1.5

// hold holds it against what was measured of this test.
func (a apartness) hold(t *testing.T) {
	t.Helper()
	all := map[string]apartness{}
	data, err := os.ReadFile(apartFile)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	was, known := all[t.Name()]
	switch {
	case *update:
		round := func(x float64) float64 { return math.Ceil(1e4*x) / 1e4 }
		all[t.Name()] = apartness{round(a.Most), round(a.RMS)}
		text, err := json.MarshalIndent(all, "", " ")
		if err == nil {
			err = os.WriteFile(apartFile, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	case !known:
		t.Errorf("%s has nothing of this test: run it with -update", apartFile)
	case !(a.Most <= slack*was.Most) || !(a.RMS <= slack*was.RMS):
		t.Errorf("log-probabilities differ by %+v; measured were %+v", a, was)
	}
}
