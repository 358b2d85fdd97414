//go:build unix

package cache

import "syscall"

// takePages takes n bytes of zeroed memory from the system. The garbage
// collector does not know of it, so that gigabytes of items neither slow it
// down nor make it wait until as much garbage again has piled up.
func takePages(n int) ([]byte, error) {
	return syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// givePages gives memory from takePages back; nobody may touch it any more.
func givePages(b []byte) { _ = syscall.Munmap(b) }
