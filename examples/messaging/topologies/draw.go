package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// An edge is what has passed between two sockets.
type edge struct {
	right uint64 // messages from the left one to the right one
	left  uint64 // and the other way; of an edge that goes one way, 0
}

// label draws the edge as an arrow with its counts.
func (e edge) label() string {
	if e.left == 0 {
		return fmt.Sprintf("──%d─►", e.right)
	}
	return fmt.Sprintf("◄─%d──%d─►", e.left, e.right)
}

// draw draws columns of sockets and, in the gap behind each column but the
// last, the edges to the next. A column of one socket is a tall box with all
// the edges on its sides; one of several has a line for each, with its edge.
func draw(w io.Writer, columns [][]string, gaps [][]edge) error {
	height := 3
	for _, column := range columns {
		height = max(height, len(column))
	}
	lines := make([]string, height)
	put := func(texts []string) {
		width := 0
		for _, text := range texts {
			width = max(width, utf8.RuneCountInString(text))
		}
		for i, text := range texts {
			lines[i] += text + strings.Repeat(" ", width-utf8.RuneCountInString(text)) + " "
		}
	}
	for i, column := range columns {
		if len(column) == 1 {
			put(box(column[0], height))
		} else {
			put(spread(column, height))
		}
		if i < len(gaps) {
			var labels []string
			for _, e := range gaps[i] {
				labels = append(labels, e.label())
			}
			put(spread(labels, height))
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// box draws a box of that height around a name.
func box(name string, height int) []string {
	bar := strings.Repeat("─", utf8.RuneCountInString(name)+2)
	lines := []string{"┌" + bar + "┐"}
	for i := 1; i < height-1; i++ {
		text := strings.Repeat(" ", utf8.RuneCountInString(name))
		if i == height/2 {
			text = name
		}
		lines = append(lines, "│ "+text+" │")
	}
	return append(lines, "└"+bar+"┘")
}

// spread puts texts in the middle of height lines.
func spread(texts []string, height int) []string {
	lines := make([]string, height)
	copy(lines[(height-len(texts))/2:], texts)
	return lines
}
