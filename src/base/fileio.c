/* Why fsync twice: a rename is atomic but not durable. Without the file's fsync the new name may
 * come back from a power cut with old or no content; without the folder's, the old file may. */
#include "base/fileio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The folder that holds `path`; the caller frees it. */
static char *parent_of(const char *path) {
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    while (len > 0 && path[len - 1] != '/') len--;
    while (len > 1 && path[len - 1] == '/') len--;
    return len == 0 ? iso_strf(".") : iso_strf("%.*s", (int)len, path);
}

static iso_status sync_parent(const char *path) {
    char *parent = parent_of(path);
    iso_status status = iso_dir_sync(parent);
    free(parent);
    return status;
}

/* --- whole files --- */

iso_status iso_file_write_atomic(const char *path, const void *bytes, int64_t n_bytes) {
    iso_file_out file;
    ISO_TRY(iso_file_out_open(&file, path));
    iso_status status = iso_file_out_write(&file, bytes, n_bytes);
    if (status == ISO_OK) return iso_file_out_commit(&file);
    iso_file_out_abandon(&file);
    return status;
}

/* Reads to the end into a growing buffer: sizes of pipes and of /proc are not known ahead. */
static iso_status read_all(char **out, int64_t *n_bytes, int fd, const char *path,
                           int64_t max_bytes) {
    struct stat info;
    int64_t capacity = 4096, used = 0;
    if (fstat(fd, &info) == 0 && info.st_size > 0 && info.st_size <= max_bytes)
        capacity = info.st_size + 2; /* one byte more than the file, to see its end at once */
    char *buffer = malloc((size_t)capacity);
    iso_status status = ISO_OK;
    for (;;) {
        if (!buffer) {
            status = iso_fail(ISO_ERR_MEMORY, "no memory to read %s", path);
            break;
        }
        ssize_t n_read = read(fd, buffer + used, (size_t)(capacity - used - 1));
        if (n_read == 0) break;
        if (n_read < 0) {
            if (errno == EINTR) continue;
            status = iso_fail_errno(ISO_ERR_IO, errno, "cannot read %s", path);
            break;
        }
        used += n_read;
        if (used > max_bytes) {
            status = iso_fail(ISO_ERR_DATA, "%s has more than %lld bytes, the most allowed here",
                              path, (long long)max_bytes);
            break;
        }
        if (used == capacity - 1) {
            capacity *= 2;
            char *grown = realloc(buffer, (size_t)capacity);
            if (!grown) free(buffer);
            buffer = grown;
        }
    }
    if (status != ISO_OK) {
        free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *out = buffer;
    *n_bytes = used;
    return ISO_OK;
}

iso_status iso_file_read(char **out, int64_t *n_bytes, const char *path, int64_t max_bytes) {
    *out = NULL;
    *n_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot open %s", path);
    iso_status status = read_all(out, n_bytes, fd, path, max_bytes);
    close(fd);
    return status;
}

bool iso_path_exists(const char *path) {
    return access(path, F_OK) == 0;
}

bool iso_path_is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

iso_status iso_file_size(int64_t *out_bytes, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot look at %s", path);
    *out_bytes = info.st_size;
    return ISO_OK;
}

/* --- a staged file --- */

static void forget(iso_file_out *file) {
    free(file->path);
    free(file->temp_path);
    *file = (iso_file_out){0};
}

iso_status iso_file_out_open(iso_file_out *file, const char *path) {
    struct stat there; /* what a rename would replace: never a device or a pipe */
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return iso_fail(ISO_ERR_IO, "cannot write %s: it is there and is no file; name another",
                        path);
    *file = (iso_file_out){.path = iso_strf("%s", path), .temp_path = iso_strf("%s.tmp", path)};
    int fd = open(file->temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0) {
        file->stream = fdopen(fd, "wb");
        if (file->stream) return ISO_OK;
        close(fd);
        unlink(file->temp_path);
    }
    iso_status status = iso_fail_errno(ISO_ERR_IO, errno, "cannot create %s", file->temp_path);
    forget(file);
    return status;
}

iso_status iso_file_out_write(iso_file_out *file, const void *bytes, int64_t n_bytes) {
    ISO_ASSERT(file->stream && n_bytes >= 0);
    if (n_bytes == 0 || fwrite(bytes, (size_t)n_bytes, 1, file->stream) == 1) return ISO_OK;
    return iso_fail_errno(ISO_ERR_IO, errno, "cannot write %s", file->temp_path);
}

iso_status iso_file_out_commit(iso_file_out *file) {
    ISO_ASSERT(file->stream);
    iso_status status = ISO_OK;
    if (fflush(file->stream) != 0 || ferror(file->stream) || fsync(fileno(file->stream)) != 0)
        status = iso_fail_errno(ISO_ERR_IO, errno, "cannot write %s", file->temp_path);
    if (fclose(file->stream) != 0 && status == ISO_OK)
        status = iso_fail_errno(ISO_ERR_IO, errno, "cannot close %s", file->temp_path);
    file->stream = NULL;
    if (status == ISO_OK && rename(file->temp_path, file->path) != 0)
        status = iso_fail_errno(ISO_ERR_IO, errno, "cannot rename %s to %s", file->temp_path,
                                file->path);
    if (status == ISO_OK)
        status = sync_parent(file->path);
    else
        unlink(file->temp_path);
    forget(file);
    return status;
}

void iso_file_out_abandon(iso_file_out *file) {
    if (!file->stream) return;
    fclose(file->stream); /* what it may fail to flush is thrown away next */
    unlink(file->temp_path);
    forget(file);
}

/* --- folders --- */

/* fsync of a file or folder by name. */
static iso_status sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot open %s", path);
    iso_status status = ISO_OK;
    /* EINVAL: a file system without fsync for folders; there is nothing more one could do. */
    if (fsync(fd) != 0 && errno != EINVAL)
        status = iso_fail_errno(ISO_ERR_IO, errno, "cannot sync %s to disk", path);
    close(fd);
    return status;
}

iso_status iso_dir_sync(const char *path) {
    return sync_path(path, O_RDONLY | O_DIRECTORY);
}

iso_status iso_file_sync(const char *path) {
    return sync_path(path, O_RDONLY);
}

iso_status iso_dir_create(const char *path) {
    if (mkdir(path, 0777) == 0) return sync_parent(path);
    int err = errno;
    if (err == EEXIST && iso_path_is_dir(path)) return ISO_OK;
    if (err == ENOENT && path[0] != '\0') {
        char *parent = parent_of(path);
        bool is_missing = !iso_path_exists(parent);
        iso_status status = is_missing ? iso_dir_create(parent) : ISO_OK;
        free(parent);
        if (status != ISO_OK) return status;
        if (is_missing) {
            if (mkdir(path, 0777) == 0) return sync_parent(path);
            err = errno;
        }
    }
    return iso_fail_errno(ISO_ERR_IO, err, "cannot create folder %s", path);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

iso_status iso_dir_remove(const char *path) {
    enum { MAX_OPEN_FOLDERS = 16 };
    if (nftw(path, remove_entry, MAX_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return ISO_OK;
    return iso_fail_errno(ISO_ERR_IO, errno, "cannot remove %s", path);
}

iso_status iso_dir_rename(const char *from, const char *to) {
    if (rename(from, to) != 0)
        return iso_fail_errno(ISO_ERR_IO, errno, "cannot rename %s to %s", from, to);
    ISO_TRY(sync_parent(to));
    return sync_parent(from);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

iso_status iso_dir_list(char ***out, int64_t *n, const char *path) {
    *out = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (!dir) return iso_fail_errno(ISO_ERR_IO, errno, "cannot list folder %s", path);
    char **names = NULL;
    int64_t count = 0, capacity = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            char **grown = realloc(names, (size_t)capacity * sizeof *names);
            ISO_ASSERT(grown != NULL);
            names = grown;
        }
        names[count++] = iso_strf("%s", entry->d_name);
    }
    int err = errno;
    closedir(dir);
    if (err != 0) {
        iso_names_free(names, count);
        return iso_fail_errno(ISO_ERR_IO, err, "cannot list folder %s", path);
    }
    if (count > 0) qsort(names, (size_t)count, sizeof *names, compare_names);
    *out = names;
    *n = count;
    return ISO_OK;
}

void iso_names_free(char **names, int64_t n) {
    for (int64_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

iso_status iso_dir_check_space(const char *path, int64_t n_bytes) {
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return iso_fail_errno(ISO_ERR_IO, errno, "cannot ask for the free space at %s", path);
    /* In double: the product may pass 2^64 on network file systems, and 53 bits are plenty. */
    double free_bytes = (double)info.f_bavail * (double)info.f_frsize;
    if ((double)n_bytes <= free_bytes) return ISO_OK;
    char need[32], have[32];
    return iso_fail(ISO_ERR_NO_SPACE, "%s: %s needed, %s free; make room and run again", path,
                    iso_str_bytes(need, (double)n_bytes), iso_str_bytes(have, free_bytes));
}

/* --- lock --- */

iso_status iso_lock_open(iso_lock *lock, const char *path) {
    lock->fd = -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot open the lock %s", path);
    int result;
    do {
        result = flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        lock->fd = fd;
        return ISO_OK;
    }
    int err = errno;
    close(fd);
    if (err == EWOULDBLOCK)
        return iso_fail(ISO_ERR_LOCKED,
                        "%s is held by another process; wait for it to end or use another folder",
                        path);
    return iso_fail_errno(ISO_ERR_IO, err, "cannot lock %s", path);
}

void iso_lock_close(iso_lock *lock) {
    if (lock->fd >= 0) close(lock->fd);
    lock->fd = -1;
}

/* --- memory map --- */

iso_status iso_map_open(iso_map *map, const char *path) {
    *map = (iso_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot open %s", path);
    struct stat info;
    iso_status status = ISO_OK;
    if (fstat(fd, &info) != 0)
        status = iso_fail_errno(ISO_ERR_IO, errno, "cannot look at %s", path);
    else if (!S_ISREG(info.st_mode))
        status = iso_fail(ISO_ERR_IO, "%s is not a plain file", path);
    else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            status = iso_fail_errno(ISO_ERR_IO, errno, "cannot map %s", path);
        else
            *map = (iso_map){.data = data, .size_bytes = info.st_size};
    }
    close(fd); /* the mapping keeps the file */
    return status;
}

void iso_map_close(iso_map *map) {
    if (map->data) munmap((void *)map->data, (size_t)map->size_bytes);
    *map = (iso_map){0};
}
