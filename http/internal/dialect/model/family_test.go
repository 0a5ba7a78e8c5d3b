package model

import "testing"

// A template's variable for thinking is found in what it asks, not in what it says.
func TestThinkingSwitches(t *testing.T) {
	for template, want := range map[string]string{
		`{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}`: "enable_thinking",
		`{% if not thinking is defined %}{% set thinking = false %}{% endif %}`:                       "thinking",
		`{%- if thinking %}Think first.{% endif %}`:                                                   "thinking",
		`{% if (thinking and not x) %}{% endif %}`:                                                    "thinking",
		`{%- if enable_thinking %}a{% elif thinking %}b{% endif %}`:                                   "enable_thinking",
		`{{ message.thinking }}<thinking>{{ 'if thinking_about' }}`:                                   "",
		`{% if message.thinking %}{% endif %}`:                                                        "",
	} {
		if got := findSwitch(template); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
}
