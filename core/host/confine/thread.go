package confine

import (
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// thread is an OS thread that runs nothing but what it is told, and whose state (namespaces,
// privileges, group) is its own. It ends with end, and takes its state along.
type thread struct {
	work chan func()
	once sync.Once
	tid  int
}

func newThread() *thread {
	t := &thread{work: make(chan func())}
	ready := make(chan struct{})
	go t.run(ready)
	<-ready
	return t
}

func (t *thread) run(ready chan struct{}) {
	runtime.LockOSThread()
	if t.tid = unix.Gettid(); t.tid == os.Getpid() {
		// The runtime never ends the process's first thread. While this goroutine holds it,
		// another one gets another.
		go t.run(ready)
		<-ready
		runtime.UnlockOSThread()
		return
	}
	close(ready)
	for f := range t.work {
		f()
	}
	// Never unlocked: the thread ends with the goroutine.
}

// do runs f on the thread.
func (t *thread) do(f func() error) error {
	result := make(chan error, 1)
	t.work <- func() { result <- f() }
	return <-result
}

// end ends the thread, and by the parent-death signal what it forked.
func (t *thread) end() { t.once.Do(func() { close(t.work) }) }
