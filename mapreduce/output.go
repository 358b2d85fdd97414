package mapreduce

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// An Output is where a job's result goes; [File] and [Writer] make one.
type Output interface {
	// Create begins an output.
	Create() (Sink, error)
}

// A Sink takes the bytes of an output. Either Commit or Abort is called, once, by
// the goroutine that wrote.
type Sink interface {
	io.Writer
	Commit() error // makes the output visible, all at once
	Abort()        // forgets it
}

// File is an output that is written beside path and takes its name when the job
// is done: at every moment path is as before, or whole.
func File(path string) Output { return file(path) }

type file string

func (path file) Create() (Sink, error) {
	if info, err := os.Stat(string(path)); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("mapreduce: output %s is there and is not a regular file", string(path))
	}
	// Not os.CreateTemp: others may read a result.
	dir, base := filepath.Split(string(path))
	beside := filepath.Join(dir, fmt.Sprintf(".%s.%08x", base, rand.Uint32()))
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("mapreduce: output: %w", err)
	}
	return &fileSink{f, string(path)}, nil
}

type fileSink struct {
	*os.File
	path string
}

func (s *fileSink) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	if err != nil {
		err = fmt.Errorf("mapreduce: output: %w", err)
	}
	return n, err
}

func (s *fileSink) Commit() error {
	if err := s.Close(); err != nil {
		os.Remove(s.Name())
		return fmt.Errorf("mapreduce: output: %w", err)
	}
	if err := os.Rename(s.Name(), s.path); err != nil {
		os.Remove(s.Name())
		return fmt.Errorf("mapreduce: output: %w", err)
	}
	return nil
}

func (s *fileSink) Abort() {
	s.Close()
	os.Remove(s.Name())
}

// Writer is an output that is written to w as it comes. When a job fails, a
// part may have been written.
func Writer(w io.Writer) Output { return writer{w} }

type writer struct{ io.Writer }

func (w writer) Create() (Sink, error) { return w, nil }
func (writer) Commit() error           { return nil }
func (writer) Abort()                  {}

// commit writes an output, whole or not at all.
func commit(out Output, write func(w io.Writer) error) error {
	sink, err := out.Create()
	if err != nil {
		return err
	}
	if err := write(sink); err != nil {
		sink.Abort()
		return err
	}
	return sink.Commit()
}
