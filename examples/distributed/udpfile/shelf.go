package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// A shelf is a folder with files to be fetched in this very process. One of
// them is called wanted, and its bytes are as good as random.
type shelf struct {
	dir string
	*folder
}

const wanted = "file"

func newShelf(size, seed int64) (*shelf, error) {
	dir, err := os.MkdirTemp("", "udpfile")
	if err != nil {
		return nil, err
	}
	s := &shelf{dir: dir}
	if s.folder, err = openFolder(dir, false, 0); err == nil {
		err = s.add(wanted, size, rand.NewChaCha8([32]byte{byte(seed)}))
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// add puts a file on the shelf: the first size bytes of content.
func (s *shelf) add(name string, size int64, content io.Reader) error {
	file, err := s.root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, content, size)
	return errors.Join(err, file.Close())
}

func (s *shelf) discard() {
	if s.folder != nil {
		s.close()
	}
	os.RemoveAll(s.dir)
}

// fetch serves the files and fetches one of them.
func (s *shelf) fetch(ctx context.Context, name string, timeout time.Duration, show progress, over transport) (result, error) {
	ln, err := over.listen(ctx, "")
	if err != nil {
		return result{}, err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		srv := &server{files: s.folder, timeout: timeout, report: func(string) {}}
		served <- srv.serve(serving, ln, 1)
	}()
	defer func() { stop(); <-served }()

	dir, err := os.MkdirTemp(s.dir, "fetched")
	if err != nil {
		return result{}, err
	}
	to, err := openFolder(dir, false, 0)
	if err != nil {
		return result{}, err
	}
	defer to.close()
	p, err := to.create(name)
	if err != nil {
		return result{}, err
	}
	defer p.leave()
	conn, err := over.dial(ctx, ln.Addr().String())
	if err != nil {
		return result{}, err
	}
	w := newWire(conn, timeout, show)
	defer w.Close()
	return ask(ctx, w, note{Op: "get", Name: name}, func(w *wire) (result, error) { return w.receive(ctx, p) })
}
