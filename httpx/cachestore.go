package httpx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"
)

// A CacheStore keeps what a [Cache] has stored: bodies, and with each a record
// that is the cache's own business. How much it holds, the cache decides.
// Its methods may be called by many goroutines at a time.
type CacheStore interface {
	// Create begins a body.
	Create() (CacheBody, error)
	// Kept gives what was kept by an earlier process, with its record.
	Kept() iter.Seq2[CacheBody, []byte]
}

// A CacheBody is a body in a [CacheStore]. It is written once, from the
// beginning to the end, while others read what is there.
type CacheBody interface {
	io.Writer
	io.ReaderAt
	// Keep makes the body last, with its record. It is called when the body is
	// whole, again when the record has changed, and with nil when the body is
	// no more to be found by a later process, though it is still read.
	Keep(record []byte) error
	// Remove gives the space free. Nobody reads any more then.
	Remove() error
}

// memoryStore keeps bodies in memory. Nothing outlives the process.
type memoryStore struct{}

func (memoryStore) Create() (CacheBody, error) { return new(memoryBody), nil }

func (memoryStore) Kept() iter.Seq2[CacheBody, []byte] {
	return func(func(CacheBody, []byte) bool) {}
}

// A memoryBody grows as its bytes come: what is announced costs nothing.
type memoryBody struct {
	mu   sync.RWMutex
	data []byte
}

func (b *memoryBody) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	return len(p), nil
}

// bytes returns what there is. It must not be changed.
func (b *memoryBody) bytes() []byte {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.data
}

func (b *memoryBody) ReadAt(p []byte, off int64) (int, error) {
	data := b.bytes()
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (*memoryBody) Keep([]byte) error { return nil }
func (*memoryBody) Remove() error     { return nil }

// A DiskStore keeps bodies in the files of a folder, where a later process
// finds them again. Make one with [OpenDiskStore].
type DiskStore struct {
	root *os.Root

	mu   sync.Mutex
	next uint64
}

// OpenDiskStore uses a folder, which is made if it is not there. The folder
// must be for this one store of one process: what a killed process left
// half-written there is removed.
func OpenDiskStore(dir string) (*DiskStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("httpx: cache folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("httpx: cache folder: %w", err)
	}
	s := &DiskStore{root: root}
	for name := range s.files() {
		stem, kind, _ := strings.Cut(name, ".")
		n, err := parseFileNumber(stem)
		if err != nil {
			continue
		}
		s.next = max(s.next, n+1)
		// A body is kept only once its record is there, which comes by a rename.
		if kind == "body" {
			if _, err := root.Lstat(stem + ".record"); err == nil {
				continue
			}
		}
		if kind == "body" || kind == "new" {
			if err := root.Remove(name); err != nil {
				root.Close()
				return nil, fmt.Errorf("httpx: cache folder: %w", err)
			}
		}
	}
	return s, nil
}

func parseFileNumber(stem string) (n uint64, err error) {
	_, err = fmt.Sscanf(stem, "%016x", &n)
	if err == nil && fmt.Sprintf("%016x", n) != stem {
		err = fs.ErrInvalid
	}
	return n, err
}

// files gives the names in the folder.
func (s *DiskStore) files() iter.Seq[string] {
	return func(yield func(string) bool) {
		entries, err := fs.ReadDir(s.root.FS(), ".")
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Type().IsRegular() && !yield(e.Name()) {
				return
			}
		}
	}
}

// Close releases the folder; the files stay.
func (s *DiskStore) Close() error { return s.root.Close() }

// Create begins a body, in a file of its own.
func (s *DiskStore) Create() (CacheBody, error) {
	s.mu.Lock()
	stem := fmt.Sprintf("%016x", s.next)
	s.next++
	s.mu.Unlock()
	f, err := s.root.OpenFile(stem+".body", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("httpx: cache store: %w", err)
	}
	return &diskBody{file: f, root: s.root, stem: stem}, nil
}

// maxRecord bounds what is read of a record.
const maxRecord = 1 << 20

// Kept gives what an earlier process kept. What cannot be read is removed.
func (s *DiskStore) Kept() iter.Seq2[CacheBody, []byte] {
	return func(yield func(CacheBody, []byte) bool) {
		for name := range s.files() {
			stem, found := strings.CutSuffix(name, ".record")
			if !found {
				continue
			}
			b, record, err := s.reopen(stem)
			if err != nil {
				s.root.Remove(name)
				s.root.Remove(stem + ".body")
				continue
			}
			if !yield(b, record) {
				return
			}
		}
	}
}

func (s *DiskStore) reopen(stem string) (*diskBody, []byte, error) {
	r, err := s.root.Open(stem + ".record")
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	record, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err == nil && len(record) > maxRecord {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.root.Lstat(stem + ".body"); err != nil {
		return nil, nil, err
	}
	return &diskBody{root: s.root, stem: stem}, record, nil
}

// A diskBody is a file. It is open only while it is written and while somebody
// reads: a process may have fewer files open than a cache has bodies.
type diskBody struct {
	root *os.Root
	stem string

	mu   sync.RWMutex
	file *os.File // until it is kept
}

func (b *diskBody) Write(p []byte) (int, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.file.Write(p)
}

func (b *diskBody) ReadAt(p []byte, off int64) (int, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.file != nil {
		return b.file.ReadAt(p, off)
	}
	f, err := b.root.Open(b.stem + ".body")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, off)
}

// close closes the file that is written.
func (b *diskBody) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return f.Close()
}

// forget removes the record, if there is one.
func (b *diskBody) forget() error {
	if err := b.root.Remove(b.stem + ".record"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b *diskBody) Keep(record []byte) error {
	if record == nil {
		return b.forget()
	}
	if len(record) > maxRecord {
		return errors.New("httpx: cache store: the record of a response is too long")
	}
	name := b.stem + ".new"
	err := b.close() // the last moment at which a full disk is noticed
	if err == nil {
		err = b.root.WriteFile(name, record, 0o600)
	}
	if err == nil {
		err = b.root.Rename(name, b.stem+".record")
	}
	if err != nil {
		_ = b.root.Remove(name)
		return fmt.Errorf("httpx: cache store: %w", err)
	}
	return nil
}

// Remove removes the record first: a body without one counts for nothing.
func (b *diskBody) Remove() error {
	return errors.Join(b.forget(), b.close(), b.root.Remove(b.stem+".body"))
}
