package tokenize

import (
	"fmt"
	"slices"
)

// post is what a post-processor puts around the ids of a text.
type post struct{ before, after []int32 }

func newPost(p *part) (post, error) {
	if p == nil {
		return post{}, nil
	}
	switch p.Type {
	case "ByteLevel": // moves offsets, not ids
		return post{}, nil
	case "TemplateProcessing":
		return templatePost(p)
	case "RobertaProcessing", "BertProcessing":
		return bertPost(p)
	case "Sequence":
		var all post
		for i := range p.Processors {
			q, err := newPost(&p.Processors[i])
			if err != nil {
				return post{}, err
			}
			all = post{append(q.before, all.before...), append(all.after, q.after...)}
		}
		return all, nil
	}
	return post{}, fmt.Errorf("post_processor %s: not supported", p.Type)
}

func templatePost(p *part) (post, error) {
	var out post
	seen := false
	for _, x := range p.Single {
		switch {
		case x.Sequence != nil && seen:
			return post{}, fmt.Errorf("post_processor TemplateProcessing: the text twice: not supported")
		case x.Sequence != nil:
			seen = true
		case x.SpecialToken != nil:
			t, ok := p.SpecialTokens[x.SpecialToken.ID]
			if !ok {
				return post{}, fmt.Errorf("post_processor TemplateProcessing: special token %q has no ids", x.SpecialToken.ID)
			}
			if seen {
				out.after = append(out.after, t.IDs...)
			} else {
				out.before = append(out.before, t.IDs...)
			}
		}
	}
	if !seen {
		return post{}, fmt.Errorf("post_processor TemplateProcessing: the text is not in it: not supported")
	}
	return out, nil
}

// check refuses ids that no token has.
func (p post) check(v *vocab) error {
	for _, id := range append(slices.Clone(p.before), p.after...) {
		if v.bytes(id) == nil {
			return fmt.Errorf("post_processor: id %d is no token's", id)
		}
	}
	return nil
}

// bertPost reads {"sep": ["</s>", 2], "cls": ["<s>", 0]}.
func bertPost(p *part) (post, error) {
	id := func(raw []byte) (int32, error) {
		r := &reader{b: raw}
		r.expect('[')
		r.str()
		r.expect(',')
		n := r.number()
		return int32(n), r.err
	}
	cls, err := id(p.Cls)
	if err != nil {
		return post{}, fmt.Errorf("post_processor %s: cls: %w", p.Type, err)
	}
	sep, err := id(p.Sep)
	if err != nil {
		return post{}, fmt.Errorf("post_processor %s: sep: %w", p.Type, err)
	}
	return post{[]int32{cls}, []int32{sep}}, nil
}
