// Attacks does to a server what an attacker would, one thing after the other, and measures what
// others notice: a client that asks for a little again and again, with a key of its own, first
// undisturbed and then while it goes on. It starts a server for each, in a control group of 2 GiB
// where it may make one. SECURITY.md has what it measured.
//
//	go build -o bin/ ./cmd/troupe
//	go run ./bench/attacks --server bin/troupe
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// attack is one of them.
type attack struct {
	name string
	// server is how the server is started; files is how many it may have open, 0: as many as
	// the system lets it.
	server []string
	files  int
	run    func(context.Context, *target) // until the context is done
}

func main() {
	binary := flag.String("server", "bin/troupe", "the program to attack")
	only := flag.String("only", "", "attacks whose names match this regular expression")
	span := flag.Duration("for", 10*time.Second, "how long each is measured, and others without it")
	device := flag.String("device", "cpu", "what the server computes on")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err == nil {
		fmt.Println("| attack | others' median, p90 undisturbed | during it | ratio | most memory | attackers got |")
		fmt.Println("| --- | --- | --- | --- | --- | --- |")
		for _, a := range attacks {
			if err == nil && match.MatchString(a.name) {
				err = a.measure(*binary, *device, *span)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// measure runs one attack and prints its row.
func (a *attack) measure(binary, device string, span time.Duration) error {
	t, err := startServer(binary, a.files, append([]string{"--device", device}, a.server...))
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	defer t.stop()
	others(t, span/4) // what is made at the first request is made
	before := others(t, span)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.run(ctx, t)
	}()
	time.Sleep(span / 4) // until it is in full swing
	during := others(t, span)
	memory := t.memory()
	cancel()
	<-over
	lived := "lived on"
	last, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if t.post(last, "/v1/completions", keyOther, []byte(`{"prompt":"x","max_tokens":1}`)) != 200 {
		lived = "DID NOT LIVE"
	}
	ratio := float64(during.at(0.5)) / float64(before.at(0.5))
	fmt.Printf("| %s | %v, %v | %v, %v (%d failed) | %.2f | %d MiB | %s; the server %s |\n", a.name,
		before.at(0.5), before.at(0.9), during.at(0.5), during.at(0.9), during.failed, ratio, memory>>20, t.counts(), lived)
	return nil
}

// sample is how a client that asks again and again fared.
type sample struct {
	took   []time.Duration // ascending
	failed int
}

// at is a quantile; 0 of none.
func (s *sample) at(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[int(q*float64(len(s.took)-1))].Round(100 * time.Microsecond)
}

// others asks for 16 tokens of a chat, one reply after the other.
func others(t *target, span time.Duration) (s sample) {
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		body := fmt.Sprintf(`{"max_tokens":16,"ignore_eos":true,"messages":[{"role":"user","content":"Tell me of fox number %d"}]}`, n)
		switch status := t.post(ctx, "/v1/chat/completions", keyOther, []byte(body)); {
		case status == 200:
			s.took = append(s.took, time.Since(began))
		case ctx.Err() == nil:
			s.failed++
		}
	}
	slices.Sort(s.took)
	return s
}
