package responses

import (
	"fmt"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// Object is the response that is kept of this id, in JSON.
func (s *Store) Object(id, owner string) ([]byte, *apierr.Error) {
	k := s.get(id, owner, time.Now())
	if k == nil {
		return nil, NotFound(id)
	}
	return slices.Clone(k.object), nil
}

// Background is the response of this id as it is made, or was: nil, when it was not
// made in the background. whole is its object.
func (s *Store) Background(id, owner string) (b *dialect.Background, whole []byte, fault *apierr.Error) {
	k := s.get(id, owner, time.Now())
	if k == nil {
		return nil, nil, NotFound(id)
	}
	return k.background, slices.Clone(k.object), nil
}

// Page says which of a list's elements are wanted: at most Limit, in the order
// they were in unless Descending, behind the one of id After.
type Page struct {
	Limit      int
	Descending bool
	After      string
}

// InputItems appends the page of what went into a response, what came before its
// request included, as a list in JSON.
func (s *Store) InputItems(dst []byte, id, owner string, p Page) ([]byte, *apierr.Error) {
	k := s.get(id, owner, time.Now())
	if k == nil {
		return nil, NotFound(id)
	}
	all := slices.Concat(k.before, k.input)
	if p.Descending {
		slices.Reverse(all)
	}
	if p.After != "" {
		i := slices.IndexFunc(all, func(v field.Value) bool { return membersOf(v).text("id") == p.After })
		if i < 0 {
			return nil, apierr.Invalid("after", "after: no item has the id %q", p.After)
		}
		all = all[i+1:]
	}
	more := len(all) > p.Limit
	all = all[:min(len(all), p.Limit)]
	dst = append(dst, `{"object":"list","data":[`...)
	for i, v := range all {
		dst = append(jsonenc.Comma(dst, i), v...)
	}
	first, last := "", ""
	if len(all) > 0 {
		first, last = membersOf(all[0]).text("id"), membersOf(all[len(all)-1]).text("id")
	}
	dst = jsonenc.OrNull(append(dst, `],"first_id":`...), first)
	dst = jsonenc.OrNull(append(dst, `,"last_id":`...), last)
	return append(dst, fmt.Sprintf(`,"has_more":%t}`, more)...), nil
}
