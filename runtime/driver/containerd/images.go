package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// imageInfo is what an image's configuration says.
type imageInfo struct {
	ID         string
	stopSignal string
	user       string
}

// imageIndex remembers the configurations of images by their target digest, which never
// change, and when images were last used.
type imageIndex struct {
	mu   sync.Mutex
	info map[string]imageInfo
	used map[string]time.Time
}

// info reads an image's configuration.
func (d *Driver) imageInfo(ctx context.Context, img containerd.Image) (imageInfo, error) {
	key := img.Target().Digest.String()
	d.images.mu.Lock()
	info, ok := d.images.info[key]
	d.images.mu.Unlock()
	if ok {
		return info, nil
	}
	desc, err := img.Config(ctx)
	if err != nil {
		return imageInfo{}, fmt.Errorf("read image %s: %w", img.Name(), err)
	}
	b, err := content.ReadBlob(ctx, img.ContentStore(), desc)
	if err != nil {
		return imageInfo{}, fmt.Errorf("read image %s: %w", img.Name(), err)
	}
	var spec ocispec.Image
	if err := json.Unmarshal(b, &spec); err != nil {
		return imageInfo{}, fmt.Errorf("read image %s: %w", img.Name(), err)
	}
	info = imageInfo{ID: desc.Digest.String(), stopSignal: spec.Config.StopSignal, user: spec.Config.User}
	d.images.mu.Lock()
	defer d.images.mu.Unlock()
	if d.images.info == nil {
		d.images.info = map[string]imageInfo{}
	}
	d.images.info[key] = info
	return info, nil
}

// findImage finds an image by reference or id.
func (d *Driver) findImage(ctx context.Context, ref string) (containerd.Image, imageInfo, error) {
	var img containerd.Image
	if !strings.HasPrefix(ref, "sha256:") {
		name, err := normalise(ref)
		if err != nil {
			return nil, imageInfo{}, err
		}
		img, err = d.client.GetImage(ctx, name)
		if errdefs.IsNotFound(err) {
			return nil, imageInfo{}, fmt.Errorf("image %s: %w", ref, driver.ErrNotFound)
		}
		if err != nil {
			return nil, imageInfo{}, fmt.Errorf("find image %s: %w", ref, err)
		}
		info, err := d.imageInfo(ctx, img)
		if err != nil {
			return nil, imageInfo{}, err
		}
		d.use(info.ID)
		return img, info, nil
	}
	all, err := d.client.ListImages(ctx)
	if err != nil {
		return nil, imageInfo{}, fmt.Errorf("find image %s: %w", ref, err)
	}
	for _, img := range all {
		if info, err := d.imageInfo(ctx, img); err == nil && info.ID == ref {
			d.use(info.ID)
			return img, info, nil
		}
	}
	return nil, imageInfo{}, fmt.Errorf("image %s: %w", ref, driver.ErrNotFound)
}

func (d *Driver) use(id string) {
	d.images.mu.Lock()
	defer d.images.mu.Unlock()
	if d.images.used == nil {
		d.images.used = map[string]time.Time{}
	}
	d.images.used[id] = time.Now()
}

// normalise makes "nginx" into "docker.io/library/nginx:latest".
func normalise(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", ref, err)
	}
	return named.String(), nil
}

// PullImage implements driver.Images.
func (d *Driver) PullImage(ctx context.Context, ref string, auth *driver.RegistryAuth) (driver.Image, error) {
	ctx = d.in(ctx)
	name, err := normalise(ref)
	if err != nil {
		return driver.Image{}, err
	}
	img, err := d.client.Pull(ctx, name,
		containerd.WithPullUnpack,
		containerd.WithPullSnapshotter(d.cfg.Snapshotter),
		containerd.WithPlatformMatcher(platforms.Default()),
		containerd.WithResolver(d.resolver(auth)),
	)
	if err != nil {
		return driver.Image{}, fmt.Errorf("pull image %s: %w", ref, err)
	}
	return d.describe(ctx, []containerd.Image{img})
}

func (d *Driver) resolver(auth *driver.RegistryAuth) remotes.Resolver {
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthCreds(func(string) (string, string, error) {
		switch {
		case auth == nil:
			return "", "", nil
		case auth.IdentityToken != "":
			return "", auth.IdentityToken, nil
		}
		return auth.Username, auth.Password, nil
	}))
	return docker.NewResolver(docker.ResolverOptions{
		Hosts: docker.ConfigureDefaultRegistries(
			docker.WithAuthorizer(authorizer),
			docker.WithPlainHTTP(func(host string) (bool, error) {
				if slices.Contains(d.cfg.PlainHTTP, host) {
					return true, nil
				}
				return docker.MatchLocalhost(host)
			}),
		),
	})
}

// describe makes one answer of the names of one image.
func (d *Driver) describe(ctx context.Context, same []containerd.Image) (driver.Image, error) {
	var out driver.Image
	for _, img := range same {
		info, err := d.imageInfo(ctx, img)
		if err != nil {
			return driver.Image{}, err
		}
		out.ID, out.User = info.ID, info.user
		named, err := reference.ParseNormalizedNamed(img.Name())
		if err != nil {
			continue
		}
		if _, ok := named.(reference.Tagged); ok {
			out.RepoTags = append(out.RepoTags, named.String())
		}
		digest := reference.TrimNamed(named).String() + "@" + img.Target().Digest.String()
		if !slices.Contains(out.RepoDigests, digest) {
			out.RepoDigests = append(out.RepoDigests, digest)
		}
		if out.SizeBytes == 0 {
			out.SizeBytes, _ = img.Size(ctx) // unknown while parts of it are missing
		}
	}
	d.images.mu.Lock()
	out.LastUsed = d.images.used[out.ID]
	d.images.mu.Unlock()
	return out, nil
}

// ImageStatus implements driver.Images.
func (d *Driver) ImageStatus(ctx context.Context, ref string) (driver.Image, error) {
	ctx = d.in(ctx)
	img, _, err := d.findImage(ctx, ref)
	if err != nil {
		return driver.Image{}, err
	}
	return d.describe(ctx, []containerd.Image{img})
}

// ImportImages implements driver.ImageImporter.
func (d *Driver) ImportImages(ctx context.Context, archive io.Reader) ([]driver.Image, error) {
	ctx = d.in(ctx)
	got, err := d.client.Import(ctx, archive, containerd.WithImportPlatform(platforms.Default()))
	if err != nil {
		return nil, fmt.Errorf("import image archive: %w", err)
	}
	if len(got) == 0 {
		return nil, errors.New("import image archive: it names no image; give it a tag when it is made")
	}
	var out []driver.Image
	for _, i := range got {
		img := containerd.NewImageWithPlatform(d.client, i, platforms.Default())
		if err := img.Unpack(ctx, d.cfg.Snapshotter); err != nil {
			return out, fmt.Errorf("unpack image %s: %w", i.Name, err)
		}
		di, err := d.describe(ctx, []containerd.Image{img})
		if err != nil {
			return out, err
		}
		out = append(out, di)
	}
	return out, nil
}

// ListImages implements driver.Images.
func (d *Driver) ListImages(ctx context.Context) ([]driver.Image, error) {
	ctx = d.in(ctx)
	all, err := d.client.ListImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	byID := map[string][]containerd.Image{}
	var order []string
	for _, img := range all {
		info, err := d.imageInfo(ctx, img)
		if err != nil {
			continue // being pulled or collected
		}
		if byID[info.ID] == nil {
			order = append(order, info.ID)
		}
		byID[info.ID] = append(byID[info.ID], img)
	}
	out := make([]driver.Image, 0, len(order))
	for _, id := range order {
		i, err := d.describe(ctx, byID[id])
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// RemoveImage implements driver.Images.
func (d *Driver) RemoveImage(ctx context.Context, id string) error {
	ctx = d.in(ctx)
	all, err := d.client.ListImages(ctx)
	if err != nil {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	for _, img := range all {
		info, err := d.imageInfo(ctx, img)
		if err != nil || info.ID != id {
			continue
		}
		if err := d.client.ImageService().Delete(ctx, img.Name(), images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", img.Name(), err)
		}
	}
	return nil
}
