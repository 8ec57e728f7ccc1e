package remote

import (
	"context"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/kms"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// KeyManager returns the plugin as a key manager, where it is one.
func (c *Client) KeyManager() (kms.KeyManager, bool) {
	return remoteKeyManager{Client: c, client: pluginv1.NewKeyManagerClient(c.conn)}, c.offers(protocol.PointKeyManager)
}

type remoteKeyManager struct {
	*Client
	client pluginv1.KeyManagerClient
}

// Status implements kms.KeyManager.
func (k remoteKeyManager) Status(ctx context.Context) (kms.Status, error) {
	r, err := k.client.Status(ctx, &pluginv1.KeyStatusRequest{})
	if err != nil {
		return kms.Status{}, unwire(err)
	}
	if err := checkKeyID(r.GetKeyId()); err != nil {
		return kms.Status{}, err
	}
	return kms.Status{KeyID: r.GetKeyId()}, nil
}

// Wrap implements kms.KeyManager.
func (k remoteKeyManager) Wrap(ctx context.Context, key []byte) (kms.Wrapped, error) {
	r, err := k.client.Wrap(ctx, &pluginv1.WrapRequest{Key: key})
	if err != nil {
		return kms.Wrapped{}, unwire(err)
	}
	if err := checkKeyID(r.GetKeyId()); err != nil {
		return kms.Wrapped{}, err
	}
	if n := len(r.GetData()); n == 0 || n > kms.MaxWrappedBytes {
		return kms.Wrapped{}, fmt.Errorf("the plugin wrapped a key in %d bytes: 1 to %d are allowed", n, kms.MaxWrappedBytes)
	}
	return kms.Wrapped{KeyID: r.GetKeyId(), Data: r.GetData()}, nil
}

// Unwrap implements kms.KeyManager.
func (k remoteKeyManager) Unwrap(ctx context.Context, w kms.Wrapped) ([]byte, error) {
	r, err := k.client.Unwrap(ctx, &pluginv1.UnwrapRequest{KeyId: w.KeyID, Data: w.Data})
	if err != nil {
		return nil, unwire(err)
	}
	return r.GetKey(), nil
}

func checkKeyID(id string) error {
	if n := len(id); n == 0 || n > kms.MaxKeyIDBytes {
		return fmt.Errorf("the plugin names its key by %d bytes: 1 to %d are allowed", n, kms.MaxKeyIDBytes)
	}
	return nil
}
