package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What different servers say of what they serve.
func TestServed(t *testing.T) {
	for _, c := range []struct {
		name, model, says string
		want              Served
		fails             string
	}{
		{"Troupe", "", `{"data":[{"id":"a","max_model_len":2048,"vocab_size":4096},{"id":"b"}]}`, Served{"a", 2048, 4096}, ""},
		{"vLLM, SGLang", "", `{"data":[{"id":"a","root":"x","max_model_len":40960,"parent":null}]}`, Served{"a", 40960, 0}, ""},
		{"llama.cpp", "", `{"data":[{"id":"a","meta":{"n_vocab":151936,"n_ctx_train":40960}}]}`, Served{"a", 0, 151936}, ""},
		{"one that tells no more than a name", "", `{"data":[{"id":"a","meta":null,"max_model_len":null}]}`, Served{Name: "a"}, ""},
		{"the model that was asked for", "b", `{"data":[{"id":"a","max_model_len":1},{"id":"b","max_model_len":2}]}`, Served{"b", 2, 0}, ""},
		{"another model than asked for", "c", `{"data":[{"id":"a"}]}`, Served{}, `does not list "c"; the first of 1 is "a"`},
		{"no model", "", `{"data":[]}`, Served{}, "lists no model"},
		{"something else", "", `<html>`, Served{}, "is this an OpenAI-compatible server?"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.says) }))
		client := NewClient(server.URL, "", c.model, 1)
		got, err := client.Served(t.Context())
		client.Close()
		server.Close()
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %+v, %v; want an error with %q", c.name, got, err, c.fails)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

// A text's tokens are counted beside /v1; who cannot count says so.
func TestCount(t *testing.T) {
	for says, want := range map[string]int{`{"count":7,"max_model_len":9,"tokens":[1]}`: 7, `{"error":"no such route"}`: 0, `no`: 0} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/tokenize" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, says)
		}))
		client := NewClient(server.URL+"/v1", "", "a", 1)
		n, err := client.Count(t.Context(), "text")
		client.Close()
		server.Close()
		if n != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d tokens, %v; want %d", says, n, err, want)
		}
	}
}
