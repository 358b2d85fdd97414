package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A file under way has a name of this form: hidden, and nobody's idea of the
// finished one.
const (
	partPrefix = ".sendfile-"
	partSuffix = ".part"
)

// A folder is where files are stored. A peer has no say in their names, and
// whatever is in the folder, symbolic links too, nothing outside it is touched.
type folder struct {
	root  *os.Root
	name  string // of every file; empty: they are numbered
	force bool   // may replace name

	mu   sync.Mutex // one file at a time gets its name
	next int        // the last number given
}

// A storeError is a failure of this machine's own, whose details are none of
// the sender's business.
type storeError struct{ err error }

func (e *storeError) Error() string { return "cannot store it: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// checkName refuses a -name that is a path, or means something special.
func checkName(name string) error {
	if name != "" && (name != filepath.Base(name) || !filepath.IsLocal(name) || name == "." || strings.HasPrefix(name, partPrefix)) {
		return cli.Usagef("-name %q is not the name of a file in a folder", name)
	}
	return nil
}

func openFolder(dir, name string, force bool) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root, name: name, force: force}, nil
}

func (f *folder) close() error { return f.root.Close() }

// sweep removes the parts of receivers that were killed and had no time to do
// it themselves, and returns their names. Parts that somebody still writes are
// locked; where the system has no such locks all are left alone.
func (f *folder) sweep() (removed []string) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, partPrefix) || !strings.HasSuffix(name, partSuffix) || !entry.Type().IsRegular() {
			continue
		}
		file, err := f.root.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if lock(file) && f.root.Remove(name) == nil {
			removed = append(removed, name)
		}
		file.Close()
	}
	return removed
}

// A part is a file under way.
type part struct {
	folder *folder
	file   *os.File
	name   string
	kept   bool
}

// create begins a file, unless its name is already taken.
func (f *folder) create() (*part, error) {
	if f.name != "" && !f.force {
		if _, err := f.root.Lstat(f.name); err == nil {
			return nil, f.taken()
		}
	}
	name := partPrefix + rand.Text() + partSuffix
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &storeError{err}
	}
	lock(file)
	return &part{folder: f, file: file, name: name}, nil
}

func (f *folder) taken() error {
	return refusal(fmt.Sprintf("the receiver has a file %q already, and may not replace it", f.name))
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if err != nil {
		err = &storeError{err}
	}
	return n, err
}

// discard removes the part, unless it has been kept.
func (p *part) discard() {
	p.file.Close()
	if !p.kept {
		_ = p.folder.root.Remove(p.name)
	}
}

// keep gives the part its final name, which it returns. The bytes are made to
// reach the disk first: after a power failure there is the whole file under
// that name, or none.
func (p *part) keep() (string, error) {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return "", &storeError{err}
	}
	f := p.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	name, err := f.rename(p.name)
	if err != nil {
		return "", err
	}
	p.kept = true
	// The name too. Windows cannot do this, and need not.
	if dir, err := f.root.Open("."); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	return name, nil
}

// rename gives the file called part its final name. f.mu is held.
func (f *folder) rename(part string) (string, error) {
	switch {
	case f.force:
		if err := f.root.Rename(part, f.name); err != nil {
			return "", &storeError{err}
		}
		return f.name, nil
	case f.name != "":
		err := f.moveTo(part, f.name)
		if errors.Is(err, fs.ErrExist) {
			return "", f.taken()
		} else if err != nil {
			return "", &storeError{err}
		}
		return f.name, nil
	}
	for {
		f.next++
		name := fmt.Sprintf("received-%d", f.next)
		err := f.moveTo(part, name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", &storeError{err}
		}
	}
}

// moveTo renames part without replacing anything: Rename alone would. A link
// is made only where there is nothing yet.
func (f *folder) moveTo(part, name string) error {
	err := f.root.Link(part, name)
	switch {
	case err == nil:
		_ = f.root.Remove(part) // the file is stored; its old name is swept another time
		return nil
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return err
	}
	return f.moveWithoutLink(part, name)
}

// moveWithoutLink is moveTo for file systems without links, such as that of a
// memory stick. Another program could make a file of that name in between.
func (f *folder) moveWithoutLink(part, name string) error {
	if _, err := f.root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	return f.root.Rename(part, name)
}
