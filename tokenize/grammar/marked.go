package grammar

// marked is text without any of the markers (ending -1), or text that ends with
// that one and has none before. It is Aho and Corasick's automaton (1975).
func marked(w *budget, markers []string, ending int) (*expr, bool) {
	nodes := []markerNode{{met: -1}}
	for i, m := range markers {
		if m == "" || len(nodes)+len(m) > maxTable {
			return nil, false
		}
		at := int32(0)
		for _, b := range []byte(m) {
			if nodes[at].next[b] == 0 {
				nodes[at].next[b] = int32(len(nodes))
				nodes = append(nodes, markerNode{met: -1})
			}
			at = nodes[at].next[b]
		}
		if nodes[at].met < 0 {
			nodes[at].met = i
		}
	}
	if !w.spend(256*len(nodes)) || !w.keep(1024*len(nodes)) {
		return nil, false
	}
	link(nodes)
	// The last state is that of having ended.
	t := &table{states: make([]tableState, len(nodes)+1)}
	for i := range nodes {
		if nodes[i].met >= 0 {
			continue // nothing goes on from there
		}
		t.states[i].accepts = ending < 0
		for b, to := range nodes[i].next {
			switch met := nodes[to].met; {
			case met < 0:
				t.states[i].edges = appendEdge(t.states[i].edges, byte(b), byte(b), to)
			case met == ending:
				t.states[i].edges = appendEdge(t.states[i].edges, byte(b), byte(b), int32(len(nodes)))
			}
		}
	}
	t.states[len(nodes)].accepts = ending >= 0
	return common(w, anyText, t.expr())
}

// markerNode is a text that markers begin with, the longest that what was read
// ends with.
type markerNode struct {
	next [256]int32
	met  int // the marker that it ends with, the first of them; -1: none
}

// link has each node go on where none of its markers does: as the longest end of
// its text that has a node.
func link(nodes []markerNode) {
	type step struct{ node, end int32 }
	var queue []step
	for _, to := range nodes[0].next {
		if to != 0 {
			queue = append(queue, step{to, 0})
		}
	}
	for i := 0; i < len(queue); i++ {
		at := &nodes[queue[i].node]
		end := &nodes[queue[i].end]
		if end.met >= 0 && (at.met < 0 || end.met < at.met) {
			at.met = end.met
		}
		for b, to := range at.next {
			if to == 0 {
				at.next[b] = end.next[b]
			} else {
				queue = append(queue, step{to, end.next[b]})
			}
		}
	}
}
