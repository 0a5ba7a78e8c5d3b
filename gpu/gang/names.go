package gang

import (
	"fmt"
	"strconv"
	"strings"
)

// Names are the devices that one name and a number of ranks stand for: "cuda:0,2"
// two GPUs, "cuda" with 4 the first four, any other device so many times. One name
// comes out where one device is meant.
func Names(device string, ranks int) ([]string, error) {
	kind, list, _ := strings.Cut(device, ":")
	if kind != "cuda" {
		names := []string{device}
		for len(names) < ranks {
			names = append(names, device)
		}
		return names, nil
	}
	if list == "" && ranks <= 1 {
		return []string{device}, nil
	}
	var names []string
	seen := map[int]bool{}
	for i, part := range strings.Split(list, ",") {
		if list == "" {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || seen[n] {
			return nil, fmt.Errorf(`device %q: GPU %d of the list is %q; give numbers, each once, such as "cuda:0,2"`, device, i, part)
		}
		seen[n] = true
		names = append(names, "cuda:"+part)
	}
	switch {
	case len(names) > 1 && ranks > 0 && ranks != len(names):
		return nil, fmt.Errorf("device %q is %d GPUs, and %d are to share the model", device, len(names), ranks)
	case len(names) == 1 && ranks > 1:
		return nil, fmt.Errorf(`device %q is one GPU, and %d are to share the model; give as many, such as "cuda:0,1", or "cuda" for the first %d`, device, ranks, ranks)
	}
	for i := len(names); i < ranks; i++ {
		names = append(names, "cuda:"+strconv.Itoa(i))
	}
	return names, nil
}
