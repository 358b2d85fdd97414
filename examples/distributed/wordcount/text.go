package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/examples/internal/words"
	"github.com/zocalo-go/zocalo/mapreduce"
)

// textSize is the size of a text unless told otherwise; the course wants 5 MB.
const textSize = 6_000_000

func text(fs *flag.FlagSet) cli.Action {
	out := fs.String("out", "", "the `file` for the text")
	size := cli.Number(fs, "size", int64(textSize), 1, 1<<40, "at least so many `bytes`")
	from := fs.String("from", "", "repeat this `file`, as often as needed")
	list := fs.String("words", "", "draw words from the list in this `file`; none means Debian's, or a small list")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<60, "another `number` gives other words")
	return func(ctx context.Context, env *cli.Env) error {
		if *out == "" {
			return cli.Usagef("-out is needed")
		}
		if *from != "" && *list != "" {
			return cli.Usagef("-from repeats a file, -words draws from a list: not both")
		}
		write := func(w io.Writer) error { return repeat(w, *from, *size) }
		if *from == "" {
			file := *list
			if installed := words.Installed(); file == "" && len(installed) > 0 {
				file = installed[0]
			}
			list, err := words.Load(file)
			if err != nil {
				return err
			}
			write = func(w io.Writer) error { return corpus.Zipf(w, list, *size, uint64(*seed)) }
		}
		// Written aside first: out may be the file that is repeated.
		sink, err := mapreduce.File(*out).Create()
		if err != nil {
			return err
		}
		written := 0
		err = write(writerFunc(func(p []byte) (int, error) {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			written += len(p)
			return sink.Write(p)
		}))
		if err != nil {
			sink.Abort()
			return err
		}
		if err := sink.Commit(); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s: %d bytes\n", *out, written)
		return nil
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// repeat writes a file again and again until there are size bytes.
func repeat(w io.Writer, name string, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriterSize(w, 1<<16)
	for size > 0 {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		n, err := io.Copy(b, f)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: there is nothing in it", name)
		}
		size -= n
	}
	return b.Flush()
}
