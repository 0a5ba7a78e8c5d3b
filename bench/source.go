package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// source says how an engine stands, as far as it knows. A nil one knows
// nothing.
type source interface {
	gauge() gauge
	knows() knowledge
	every() time.Duration // how often it may be asked
}

// knowledge is which fields of a gauge a source fills in, each all before it.
type knowledge uint8

const (
	nothing  knowledge = iota
	itsLoad            // running, waiting, used, cached
	itsSteps           // steps, computed, decoded
)

// inProcess is an engine of this process.
type inProcess struct{ *actors.System }

func (s inProcess) knows() knowledge     { return itsSteps }
func (s inProcess) every() time.Duration { return sampleEvery }

func (s inProcess) gauge() gauge {
	st := s.Stats()
	pages := float64(max(1, s.Device().NumPages))
	return gauge{
		steps: st.Steps, computed: st.Computed, decoded: st.Decoded, running: st.Running, waiting: st.Waiting,
		used: float64(st.PagesUsed) / pages, cached: float64(st.PagesCached) / pages,
	}
}

// polled is a server that is asked.
type polled struct {
	client *Client
	ctx    context.Context
	path   string
	what   knowledge
	read   func(io.Reader) (gauge, error)
	last   gauge
}

func (p *polled) knows() knowledge { return p.what }

// every is long: asking costs a server about a millisecond.
func (p *polled) every() time.Duration { return 200 * time.Millisecond }

// gauge asks. A server that does not answer stands as it stood.
func (p *polled) gauge() gauge {
	if g, err := p.client.ask(p.ctx, p.path, p.read); err == nil {
		p.last = g
	}
	return p.last
}

// poll finds out whether the server tells how it stands: by its /stats if it is
// one of ours, else by the metrics of vLLM or SGLang. Nil means that it does
// not.
func (c *Client) poll(ctx context.Context) *polled {
	for _, p := range []*polled{
		{path: "/stats", what: itsSteps, read: readStats},
		{path: "/metrics", what: itsLoad, read: readMetrics},
	} {
		p.client, p.ctx = c, ctx
		if _, err := c.ask(ctx, p.path, p.read); err == nil {
			return p
		}
	}
	return nil
}

// ask reads a page beside /v1, if the server answers soon.
func (c *Client) ask(ctx context.Context, path string, read func(io.Reader) (gauge, error)) (gauge, error) {
	ctx, cancel := context.WithTimeout(ctx, c.pollPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.root()+path, nil)
	if err != nil {
		return gauge{}, err
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return gauge{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return gauge{}, fmt.Errorf("%s answered %s", req.URL, resp.Status)
	}
	return read(io.LimitReader(resp.Body, 8<<20))
}

// readStats reads what our /stats says.
func readStats(r io.Reader) (gauge, error) {
	var s struct {
		Requests *struct{ Running, Waiting int }
		Pages    *struct{ Used, Cached, Free float64 }
		Steps    struct{ Decode, Prefill, Mixed uint64 }
		Tokens   struct{ Computed, Decoded uint64 }
	}
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return gauge{}, err
	}
	if s.Requests == nil || s.Pages == nil {
		return gauge{}, fmt.Errorf("it has no requests and pages")
	}
	pages := max(1, s.Pages.Used+s.Pages.Cached+s.Pages.Free)
	return gauge{
		steps: s.Steps.Decode + s.Steps.Prefill + s.Steps.Mixed, computed: s.Tokens.Computed, decoded: s.Tokens.Decoded,
		running: s.Requests.Running, waiting: s.Requests.Waiting, used: s.Pages.Used / pages, cached: s.Pages.Cached / pages,
	}, nil
}

// The gauges of other servers, by what they say.
var (
	runningMetrics = []string{"vllm:num_requests_running", "sglang:num_running_reqs"}
	waitingMetrics = []string{"vllm:num_requests_waiting", "sglang:num_queue_reqs"}
	usedMetrics    = []string{"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"}
)

// readMetrics reads Prometheus' text; of several engines' samples it sums
// requests and takes the mean of shares.
func readMetrics(r io.Reader) (gauge, error) {
	sums, counts := map[string]float64{}, map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		at := strings.LastIndexByte(text, ' ')
		if at < 0 || text[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(text[:at], "{")
		if v, err := strconv.ParseFloat(text[at+1:], 64); err == nil {
			sums[name] += v
			counts[name]++
		}
	}
	first := func(names []string) (sum float64, n int) {
		for _, name := range names {
			if n = counts[name]; n > 0 {
				return sums[name], n
			}
		}
		return 0, 0
	}
	running, n := first(runningMetrics)
	if n == 0 {
		return gauge{}, fmt.Errorf("there are none of %s", strings.Join(runningMetrics, ", "))
	}
	waiting, _ := first(waitingMetrics)
	used, n := first(usedMetrics)
	return gauge{running: int(running), waiting: int(waiting), used: used / float64(max(1, n))}, lines.Err()
}
