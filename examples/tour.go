package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// usual is how long a demo takes at most by convention; one that needs more
// is pointed out.
const usual = 5 * time.Second

// A tour plays the demos of exercises one after the other.
type tour struct {
	out   io.Writer
	style style
	lines int           // of a transcript that are shown
	limit time.Duration // for one demo
}

// play builds the stops' programs at once and plays their demos. It returns a
// [cli.Status] if one failed, after saying so.
func (t *tour) play(ctx context.Context, b *builder, stops []*exercise) error {
	fmt.Fprintf(t.out, "Building %s …\n", count(len(stops)))
	began := time.Now()
	broken := make(map[*exercise]string) // what the go command said
	if err := b.build(ctx, io.Discard, stops...); err != nil {
		// One that does not build must not spoil the others: find it.
		for _, e := range stops {
			var log bytes.Buffer
			if err := b.build(ctx, &log, e); err != nil {
				broken[e] = log.String() + err.Error()
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	fmt.Fprintf(t.out, "… done in %s.\n", seconds(time.Since(began)))
	began = time.Now()
	var failed []string
	for i, e := range stops {
		fmt.Fprintf(t.out, "\n%s\n    %s\n", t.style.bold(fmt.Sprintf("[%d/%d] %s %s", i+1, len(stops), e.id, e.name)), wrap(e.summary, t.style.width-4, 4))
		transcript := &transcript{out: t.out, limit: t.lines}
		var took time.Duration
		var err error
		if text, ok := broken[e]; ok {
			io.WriteString(transcript, text)
			err = errors.New("does not build")
		} else {
			start := time.Now()
			err = t.demo(ctx, b.path(e), transcript)
			took = time.Since(start)
		}
		transcript.close(err != nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err != nil:
			failed = append(failed, e.id+" "+e.name)
			fmt.Fprintf(t.out, "✗ %s %s: %v (%s)\n", e.id, e.name, err, seconds(took))
		case took > usual:
			fmt.Fprintf(t.out, "✓ %s %s (%s, more than the %s of a demo)\n", e.id, e.name, seconds(took), usual)
		default:
			fmt.Fprintf(t.out, "✓ %s %s (%s)\n", e.id, e.name, seconds(took))
		}
	}
	fmt.Fprintf(t.out, "\n%s", t.style.bold(fmt.Sprintf("%s in %s: %d ✓, %d ✗", count(len(stops)), seconds(time.Since(began)), len(stops)-len(failed), len(failed))))
	if len(failed) > 0 {
		fmt.Fprintf(t.out, " (%s)\n", strings.Join(failed, ", "))
		return cli.Status(cli.Failure)
	}
	fmt.Fprintln(t.out)
	return nil
}

// demo runs the demo of a program within the limit.
func (t *tour) demo(ctx context.Context, program string, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit, fmt.Errorf("stopped after %v", t.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo")
	ownGroup(cmd)
	cmd.WaitDelay = 2 * time.Second // for a child that holds the output open
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func count(n int) string {
	if n == 1 {
		return "1 exercise"
	}
	return fmt.Sprintf("%d exercises", n)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// tail is how many of the last lines of a failed demo are shown although they
// are beyond the limit: they say what went wrong.
const tail = 10

// A transcript shows the first lines of what is written to it, indented, as
// they come, and keeps no more than the tail of the others.
type transcript struct {
	out   io.Writer
	limit int

	mu       sync.Mutex
	partial  []byte
	returned bool // the last byte was a carriage return
	shown    int
	hidden   int
	last     []string // of the hidden ones
}

// maxLine is where a line of a transcript is cut.
const maxLine = 400

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range p {
		if t.returned && c != '\n' {
			t.partial = t.partial[:0] // a progress bar begins its line anew
		}
		t.returned = c == '\r'
		switch {
		case c == '\n':
			t.line()
		case c != '\r' && len(t.partial) < maxLine:
			t.partial = append(t.partial, c)
		}
	}
	return len(p), nil
}

// line ends the current line.
func (t *transcript) line() {
	text := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) && r != '\t' {
			return -1
		}
		return r
	}, string(t.partial))
	t.partial = t.partial[:0]
	if t.shown < t.limit {
		t.shown++
		fmt.Fprintf(t.out, "    %s\n", text)
		return
	}
	t.hidden++
	t.last = append(t.last, text)
	if len(t.last) > tail {
		t.last = append(t.last[:0], t.last[1:]...)
	}
}

// close ends the transcript; of a failed demo it shows the last lines too.
func (t *transcript) close(failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.partial) > 0 {
		t.line()
	}
	if !failed {
		t.last = nil
	}
	if more := t.hidden - len(t.last); more > 0 {
		fmt.Fprintf(t.out, "    … %d lines more\n", more)
	}
	for _, text := range t.last {
		fmt.Fprintf(t.out, "    %s\n", text)
	}
}
