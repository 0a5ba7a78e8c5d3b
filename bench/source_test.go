package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestServersAreAsked(t *testing.T) {
	for _, c := range []struct {
		path, page string
		want       gauge
		knows      knowledge
	}{
		{
			"/stats", `{"requests":{"running":3,"waiting":2},"pages":{"used":25,"cached":50,"free":25},"steps":{"decode":5,"prefill":1,"mixed":2},"tokens":{"computed":90,"decoded":40}}`,
			gauge{steps: 8, computed: 90, decoded: 40, running: 3, waiting: 2, used: .25, cached: .5},
			itsSteps,
		},
		{
			"/metrics", "# HELP x\n" + `vllm:num_requests_running{engine="0"} 7.0` + "\n" + `vllm:num_requests_running{engine="1"} 2.0` + "\nvllm:num_requests_waiting 4\n" +
				`vllm:kv_cache_usage_perc{engine="0"} 0.5` + "\n" + `vllm:kv_cache_usage_perc{engine="1"} 0.25` + "\n",
			gauge{running: 9, waiting: 4, used: .375},
			itsLoad,
		},
		{"/metrics", "sglang:num_running_reqs 5\nsglang:num_queue_reqs 1\nsglang:token_usage 0.125\n", gauge{running: 5, waiting: 1, used: .125}, itsLoad},
	} {
		asked := make(chan string, 100)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != c.path || r.Header.Get("Authorization") != "Bearer k" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, c.page)
			asked <- r.URL.Path
		}))
		client := NewClient(server.URL, "k", "m", 4)
		p := client.poll(t.Context())
		if p == nil || p.gauge() != c.want || p.knows() != c.knows {
			t.Fatalf("%s: %+v", c.page, p)
		}
		if n := len(asked); n != 2 { // to find out, and for the gauge
			t.Errorf("%s was asked %d times", c.path, n)
		}
		server.Close()
		if p.gauge() != c.want {
			t.Error("a server that is gone does not stand as it stood")
		}
		client.Close()
	}
}

func TestServersThatTellNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"a":1}`) }))
	defer server.Close()
	client := NewClient(server.URL, "", "m", 4)
	defer client.Close()
	if p := client.poll(context.Background()); p != nil {
		t.Errorf("it was understood as %+v", p.gauge())
	}
	if _, err := readMetrics(strings.NewReader("x 1\ny nonsense\nz{} \n")); err == nil {
		t.Error("metrics of nobody were read")
	}
	r := newRecorder(time.Second, itsLoad)
	r.sample(0, gauge{running: 2, used: .5})
	if line := r.timeline(); len(line.Running) != 1 || len(line.KVUsed) != 1 || line.Steps != nil {
		t.Errorf("%+v", line)
	}
}
