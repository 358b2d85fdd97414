package mq

import "strings"

// topics is a set of subscriptions: a radix tree, in which a message finds all
// prefixes of its topic on one walk from the root. A pipe subscribes to each
// topic once or not at all; SUB sockets have a tree of their own with counts.
type topics struct{ root node }

// A node stands for the bytes on the way to it.
type node struct {
	label string // bytes between the parent and this
	next  []*node
	pipes []*pipe // who subscribes to exactly these bytes
	count int     // how often, in the tree of a SUB
}

// find returns the node for topic, which it makes if make is set, else nil.
func (t *topics) find(topic string, make bool) *node {
	n := &t.root
	for topic != "" {
		i := n.child(topic[0])
		if i < 0 {
			if !make {
				return nil
			}
			leaf := &node{label: topic}
			n.next = append(n.next, leaf)
			return leaf
		}
		c := n.next[i]
		same := common(c.label, topic)
		if same < len(c.label) {
			if !make {
				return nil
			}
			n.next[i] = &node{label: c.label[:same], next: []*node{c}}
			c.label = c.label[same:]
			c = n.next[i]
		}
		n, topic = c, topic[same:]
	}
	return n
}

// child returns the index of the child that begins with b, or -1.
func (n *node) child(b byte) int {
	for i, c := range n.next {
		if c.label[0] == b {
			return i
		}
	}
	return -1
}

func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// prune removes the nodes on the way to topic that nobody needs.
func (t *topics) prune(topic string) { t.root.prune(topic) }

func (n *node) prune(topic string) {
	if topic == "" {
		return
	}
	i := n.child(topic[0])
	if i < 0 || !strings.HasPrefix(topic, n.next[i].label) {
		return
	}
	c := n.next[i]
	c.prune(topic[len(c.label):])
	if len(c.pipes) > 0 || c.count > 0 {
		return
	}
	switch len(c.next) {
	case 0:
		last := len(n.next) - 1
		n.next[i], n.next[last] = n.next[last], nil
		n.next = n.next[:last]
	case 1:
		only := c.next[0]
		only.label = c.label + only.label
		n.next[i] = only
	}
}

// match calls f with the pipes of each node on the way of topic.
func (t *topics) match(topic []byte, f func([]*pipe)) {
	for n := &t.root; ; {
		if len(n.pipes) > 0 {
			f(n.pipes)
		}
		if n = n.along(topic); n == nil {
			return
		}
		topic = topic[len(n.label):]
	}
}

// along returns the child of n that topic passes through, or nil.
func (n *node) along(topic []byte) *node {
	if len(topic) == 0 || len(n.next) == 0 {
		return nil
	}
	i := n.child(topic[0])
	if i < 0 || len(topic) < len(n.next[i].label) || string(topic[:len(n.next[i].label)]) != n.next[i].label {
		return nil
	}
	return n.next[i]
}

// has reports whether a counted prefix of topic is in the tree.
func (t *topics) has(topic []byte) bool {
	for n := &t.root; n != nil; {
		if n.count > 0 {
			return true
		}
		if n = n.along(topic); n != nil {
			topic = topic[len(n.label):]
		}
	}
	return false
}

// each calls f with every counted topic.
func (t *topics) each(f func(topic string)) { t.root.each("", f) }

func (n *node) each(before string, f func(string)) {
	before += n.label
	if n.count > 0 {
		f(before)
	}
	for _, c := range n.next {
		c.each(before, f)
	}
}
