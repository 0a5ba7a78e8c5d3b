package responses

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func response(id, owner string, bytes int) *kept {
	return &kept{
		id: "resp_" + id, owner: owner, object: []byte(`{"id":"resp_` + id + `"}`),
		input: []field.Value{field.Value(`{"id":"msg_` + id + `","content":"` + strings.Repeat("x", bytes) + `"}`)},
	}
}

func ids(s *Store) (all []string) {
	for e := s.order.Front(); e != nil; e = e.Next() {
		all = append(all, strings.TrimPrefix(e.Value.(*kept).id, "resp_"))
	}
	return all
}

func TestStoreForgetsTheOldest(t *testing.T) {
	s := NewStore(5000, time.Hour)
	for i, id := range []string{"A", "B", "C"} {
		s.put(response(id, "", 1500), noon.Add(time.Duration(i)*time.Minute))
	}
	if got := fmt.Sprint(ids(s)); got != "[B C]" { // each takes 1,800 bytes or so
		t.Errorf("kept are %v", got)
	}
	s.put(response("D", "", 6000), noon.Add(3*time.Minute)) // larger than all the room
	if got := fmt.Sprint(ids(s)); got != "[B C]" {
		t.Errorf("with one too large kept are %v", got)
	}
	s.put(response("E", "", 10), noon.Add(61*time.Minute+time.Second))
	if got := fmt.Sprint(ids(s)); got != "[C E]" {
		t.Errorf("an hour later kept are %v", got)
	}
	if s.get("resp_C", "", noon.Add(2*time.Hour+2*time.Minute+time.Second)) != nil {
		t.Error("C is there after its time")
	}
	for _, id := range []string{"resp_C", "resp_E"} {
		s.remove(s.byID[id])
	}
	if s.used != 0 || len(s.byID) != 0 {
		t.Errorf("of nothing %d bytes are used, %d named", s.used, len(s.byID))
	}
}

func TestStoreIsPerOwner(t *testing.T) {
	s := NewStore(5000, time.Hour)
	s.put(response("A", "ann", 10), time.Now())
	if s.get("resp_A", "bob", time.Now()) != nil || s.Delete("resp_A", "") || s.get("resp_A", "ann", time.Now()) == nil {
		t.Error("a response is not its owner's alone")
	}
	var none *Store
	none.put(response("A", "", 1), time.Now())
	if none.get("resp_A", "", time.Now()) != nil {
		t.Error("no store keeps something")
	}
}

// A directory outlasts the process, keeps to its bounds, and reads nothing that
// is not its own.
func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "responses")
	open := func(bytes int64) *Store {
		t.Helper()
		s := NewStore(1<<20, time.Hour)
		if err := s.In(dir, bytes, func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	now := time.Now()
	s := open(1 << 20)
	for i, id := range []string{"A", "B", "C"} {
		s.put(response(id, "ann", 1000), now.Add(time.Duration(i)*time.Second))
	}
	s = open(1 << 20)
	k := s.get("resp_B", "ann", now)
	if k == nil || string(k.object) != `{"id":"resp_B"}` || len(k.conversation()) != 1 || !k.expires.Equal(now.Add(time.Hour+time.Second)) {
		t.Fatalf("read again it is %+v", k)
	}
	if s.get("resp_B", "", now) != nil {
		t.Error("it is everyone's now")
	}
	if !s.Delete("resp_B", "ann") || s.get("resp_B", "ann", now) != nil {
		t.Error("it was not deleted")
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "resp_X.json"), []byte(`{"owner":"ann","expires":"2099-01-01T00:00:00Z","object":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"../resp_X", "resp_../../resp_X", "resp_", "", "resp_b"} {
		if s.get(id, "ann", now) != nil {
			t.Errorf("%q leads out of the directory", id)
		}
	}
	open(1500)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "resp_C.json" {
		t.Errorf("in less room there are %v, %v; want C alone", files, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "resp_C.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

// A file that was cut off is told of, and is no response.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	told := 0
	s := NewStore(1<<20, time.Hour)
	if err := s.In(dir, 1<<20, func(error) { told++ }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "resp_A.json"), []byte(`{"object"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.get("resp_A", "", time.Now()) != nil || told != 1 {
		t.Errorf("told %d times", told)
	}
	if err := s.In(filepath.Join(dir, "resp_A.json"), 1, nil); err == nil {
		t.Error("a file was taken for a directory")
	}
}
