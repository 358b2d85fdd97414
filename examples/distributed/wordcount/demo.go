package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/mapreduce"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "wordcount")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		in, out, alone := filepath.Join(dir, "text.txt"), filepath.Join(dir, "counts.txt"), filepath.Join(dir, "alone.txt")
		quiet := *env
		quiet.Stdout = new(bytes.Buffer)
		if _, err := quiet.Play(ctx, "", "text", "-size", "500000", "-out", in); err != nil {
			return err
		}
		began := time.Now()
		if err := processes(ctx, env, in, out); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "that took %v\n", time.Since(began).Round(time.Millisecond))
		// The same in one process, for comparison.
		began = time.Now()
		if _, err := (&mapreduce.Local{}).Run(ctx, corpus.WordCount(), mapreduce.Files(in), mapreduce.File(alone)); err != nil {
			return err
		}
		took := time.Since(began)
		got, err := os.ReadFile(out)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(alone)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errors.New("the index is not that of one process alone")
		}
		fmt.Fprintf(env.Stdout, "%d different words; one process alone gives the same bytes, in %v\n", bytes.Count(got, []byte("\n")), took.Round(time.Millisecond))
		return nil
	}
}

// processes counts the words of in with a master, four mappers and a reducer,
// each a process, and kills the mapper that gets the first piece.
func processes(ctx context.Context, env *cli.Env, in, out string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var started []*exec.Cmd
	defer func() {
		cancel() // kills those that still run
		for _, cmd := range started {
			cmd.Wait()
		}
	}()
	start := func(args ...string) (*exec.Cmd, *bufio.Scanner, error) {
		cmd := exec.CommandContext(ctx, exe, args...)
		cmd.Stderr = env.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		started = append(started, cmd)
		return cmd, bufio.NewScanner(stdout), nil
	}
	master, lines, err := start("master", "-mappers", "4", "-in", in, "-out", out)
	if err != nil {
		return err
	}
	lines.Scan()
	addr, ok := cli.ListeningAddr(lines.Text())
	if !ok {
		return fmt.Errorf("the master did not begin: %q", lines.Text())
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	work := func(kind, name string, more ...string) (*exec.Cmd, error) {
		fmt.Fprintf(env.Stdout, "%s %s comes\n", kind, name)
		cmd, _, err := start(append([]string{kind, "-port", port, "-name", name}, more...)...)
		return cmd, err
	}
	ana, err := work("mapper", "ana", "-slow", "1h")
	if err != nil {
		return err
	}
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "the index is in ") {
			continue // in a folder that is removed
		}
		fmt.Fprintf(env.Stdout, "  %s\n", lines.Text())
		if !strings.HasPrefix(lines.Text(), "ana gets ") {
			continue
		}
		for _, name := range []string{"bea", "carlos", "david"} {
			if _, err := work("mapper", name); err != nil {
				return err
			}
		}
		if _, err := work("reducer", "elena"); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, "mapper ana is killed")
		if err := ana.Process.Kill(); err != nil {
			return err
		}
	}
	return master.Wait()
}
