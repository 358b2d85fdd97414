package mapreduce

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// A spool takes bytes, in memory first and then in a file, and gives them back
// as often as wanted. The file is open only while it is written or read: a job
// may have thousands of spools.
type spool struct {
	dir    string
	memory int64 // so many bytes are kept in memory
	data   []byte
	path   string   // of the file; "" if there is none
	file   *os.File // while it is written
	n      int64    // bytes written

	mu      sync.Mutex
	readers map[*spoolReader]struct{} // those with an open file
}

func newSpool(dir string, memory int64) *spool { return &spool{dir: dir, memory: memory} }

func (s *spool) Write(p []byte) (int, error) {
	if s.path == "" && s.n+int64(len(p)) <= s.memory {
		s.data = append(s.data, p...)
		s.n += int64(len(p))
		return len(p), nil
	}
	n, err := s.writeFile(p)
	s.n += int64(n)
	if err != nil {
		err = fmt.Errorf("mapreduce: spill: %w", err)
	}
	return n, err
}

func (s *spool) writeFile(p []byte) (n int, err error) {
	if s.path == "" {
		if s.file, err = os.CreateTemp(s.dir, "run-*"); err != nil {
			return 0, err
		}
		s.path = s.file.Name()
		if _, err := s.file.Write(s.data); err != nil {
			return 0, err
		}
		s.data = nil
	}
	return s.file.Write(p)
}

// finish ends the writing.
func (s *spool) finish() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if err != nil {
		err = fmt.Errorf("mapreduce: spill: %w", err)
	}
	return err
}

// open returns a reader of all bytes.
func (s *spool) open() io.Reader { return s.section(0, s.n) }

// section returns a reader of the bytes from one offset to another. When all is
// written, several can read at a time.
func (s *spool) section(from, to int64) io.Reader {
	if s.path == "" {
		return bytes.NewReader(s.data[from:to])
	}
	return &spoolReader{spool: s, at: from, to: to}
}

// remove frees the memory and the file.
func (s *spool) remove() {
	s.data = nil
	s.finish()
	s.mu.Lock()
	for r := range s.readers {
		r.file.Close()
	}
	s.readers = nil
	s.mu.Unlock()
	if s.path != "" {
		os.Remove(s.path)
	}
}

// A spoolReader reads a section of a spool's file, which it opens for the first
// bytes and closes behind the last ones.
type spoolReader struct {
	spool  *spool
	file   *os.File
	at, to int64
}

func (r *spoolReader) Read(p []byte) (int, error) {
	if r.at == r.to {
		return 0, io.EOF
	}
	if r.file == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), r.to-r.at)], r.at)
	if r.at += int64(n); r.at == r.to {
		r.close()
		return n, nil
	}
	return n, unexpected(err)
}

func (r *spoolReader) open() (err error) {
	if r.file, err = os.Open(r.spool.path); err != nil {
		return err
	}
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	if r.spool.readers == nil {
		r.spool.readers = map[*spoolReader]struct{}{}
	}
	r.spool.readers[r] = struct{}{}
	return nil
}

func (r *spoolReader) close() {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	delete(r.spool.readers, r)
	r.file.Close()
}
