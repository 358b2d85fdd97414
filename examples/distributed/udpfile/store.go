package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// A folder is where files come from and go to. Whatever name a peer asks for,
// and whatever symbolic links are there, nothing outside of it is touched.
type folder struct {
	root    *os.Root
	replace bool  // a new file may take the place of an old one
	most    int64 // bytes that a new file may have; 0: any number

	mu   sync.Mutex
	busy map[string]bool // what is being received at present
}

func openFolder(dir string, replace bool, most int64) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root, replace: replace, most: most, busy: make(map[string]bool)}, nil
}

func (f *folder) close() error { return f.root.Close() }

// checkName refuses what is not the plain name of a file, perhaps in a folder:
// "a.txt", "b/a.txt". Hidden files, parts among them, are nobody's business.
func checkName(name string) error {
	if !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return refusal(fmt.Sprintf("%q is not the name of a file here", name))
	}
	return nil
}

// open opens a file to be sent.
func (f *folder) open(name string) (*os.File, int64, error) {
	info, err := f.root.Stat(name) // before Open, which would wait for the other end of a pipe
	if err == nil && !info.Mode().IsRegular() {
		return nil, 0, refusal(fmt.Sprintf("%q is no regular file", name))
	}
	var file *os.File
	if err == nil {
		file, err = f.root.Open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, refusal(fmt.Sprintf("there is no file %q", name))
	} else if err != nil {
		return nil, 0, &diskError{err}
	}
	return file, info.Size(), nil
}

// A part is a file under way: hidden beside the place where it will be, under
// a name made from its own, so that another try finds it.
type part struct {
	folder *folder
	file   *os.File
	final  string
	hidden string
	wrong  bool // must not be used again
	kept   bool
}

// free refuses a name that is taken.
func (f *folder) free(name string) error {
	if _, err := f.root.Lstat(name); err == nil && !f.replace {
		return refusal(fmt.Sprintf("there is a file %q already, which may not be replaced", name))
	}
	return nil
}

// create begins a file, or goes on with what an earlier try has left of it.
func (f *folder) create(name string) (*part, error) {
	if err := f.free(name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[name] {
		return nil, refusal(fmt.Sprintf("%q is being received from somebody else", name))
	}
	p := &part{folder: f, final: name, hidden: path.Join(path.Dir(name), "."+path.Base(name)+".part")}
	if info, err := f.root.Lstat(p.hidden); err == nil && !info.Mode().IsRegular() {
		return nil, &diskError{fmt.Errorf("%s, the place of the part, is no regular file", p.hidden)}
	}
	var err error
	p.file, err = f.root.OpenFile(p.hidden, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &diskError{err}
	}
	f.busy[name] = true
	return p, nil
}

// sum returns the length of what is on the disk, and its SHA-256.
func (p *part) sum() (int64, string, error) {
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return 0, "", &diskError{err}
	}
	hash := sha256.New()
	n, err := io.Copy(hash, p.file)
	if err != nil {
		return 0, "", &diskError{err}
	}
	return n, hex.EncodeToString(hash.Sum(nil)), nil
}

// begin makes ready to write what comes after the first n bytes of a file of
// the given size.
func (p *part) begin(n, size int64) error {
	if most := p.folder.most; most > 0 && size > most {
		return refusal(fmt.Sprintf("%d bytes are more than the %d that are taken here", size, most))
	}
	if err := p.file.Truncate(n); err != nil {
		return &diskError{err}
	}
	if _, err := p.file.Seek(n, io.SeekStart); err != nil {
		return &diskError{err}
	}
	return nil
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// keep gives the file its name. The bytes are made to reach the disk first, so
// that after a power failure there is the whole file under that name or none.
func (p *part) keep() error {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return &diskError{err}
	}
	if err := p.folder.free(p.final); err != nil {
		return err // another program has made it meanwhile
	}
	if err := p.folder.root.Rename(p.hidden, p.final); err != nil {
		return &diskError{err}
	}
	p.kept = true
	return nil
}

// leave ends the work on a part. One that is not kept stays for another try,
// if there is something in it that is right.
func (p *part) leave() {
	info, err := p.file.Stat()
	p.file.Close()
	if !p.kept && (p.wrong || err == nil && info.Size() == 0) {
		_ = p.folder.root.Remove(p.hidden)
	}
	p.folder.mu.Lock()
	defer p.folder.mu.Unlock()
	delete(p.folder.busy, p.final)
}
