package bootstrap

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Cleaner deletes tokens that have expired.
type Cleaner struct {
	kit     control.Kit
	loop    *control.Loop
	factory informers.SharedInformerFactory
	secrets corelisters.SecretLister
	watches control.Watches
	now     func() time.Time
}

// NewCleaner returns the controller.
func NewCleaner(kit control.Kit) (*Cleaner, error) {
	factory := secretsOf(kit)
	secrets := factory.Core().V1().Secrets()
	c := &Cleaner{kit: kit, factory: factory, secrets: secrets.Lister(), now: time.Now}
	c.loop = control.NewLoop("tokencleaner", kit.Log, c.sync)
	return c, c.watches.Add("the cleaning of tokens", control.Handlers{secrets.Informer(): control.Seen(c.loop.AddObject)})
}

// Run works until ctx is cancelled.
func (c *Cleaner) Run(ctx context.Context) {
	c.factory.StartWithContext(ctx)
	defer c.factory.Shutdown()
	c.watches.Run(ctx, c.loop.Workers(1))
}

func (c *Cleaner) sync(ctx context.Context, key string) error {
	s, found, err := control.Lookup(key, func(namespace, name string) (*v1.Secret, error) { return c.secrets.Secrets(namespace).Get(name) })
	if !found || !isToken(s) {
		return err
	}
	at, ends := expiration(s)
	if !ends {
		return nil
	}
	if left := at.Sub(c.now()); left > 0 {
		c.loop.AddAfter(key, left)
		return nil
	}
	return c.remove(ctx, s)
}

func (c *Cleaner) remove(ctx context.Context, s *v1.Secret) error {
	err := c.kit.Client.CoreV1().Secrets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(s.UID)),
	})
	// A conflict says that there is another one of the name already.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("delete the expired token %s: %w", s.Name, err)
}
