/* Replays a fuzz corpus without a fuzzer: runs LLVMFuzzerTestOneInput over every file of the
 * folders named on the command line. Builds without libFuzzer link each fuzz target with it; an
 * empty or missing folder is a failure, since a target without a corpus checks nothing. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes go into a block of exactly their size, so that ASan sees a read past the end. */
static int replay_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    int result = -1;
    if (!file || !data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        goto cleanup;
    }
    if (LLVMFuzzerTestOneInput(data, size) == 0)
        result = 0;
    else
        fprintf(stderr, "replay: %s was rejected by the target\n", path);
cleanup:
    if (file)
        fclose(file);
    free(data);
    return result;
}

/* Returns the number of files replayed, or -1. */
static int replay_folder(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) {
        fprintf(stderr, "replay: %s: %s\n", folder, strerror(errno));
        return -1;
    }
    int count = 0;
    struct dirent *entry;
    while (count >= 0 && (entry = readdir(dir))) {
        char path[PATH_MAX];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &info) || !S_ISREG(info.st_mode))
            continue;
        count = replay_file(path, (size_t)info.st_size) ? -1 : count + 1;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count <= 0) {
            fprintf(stderr, "replay: %s: %s\n", argv[i], count ? "failed" : "no inputs");
            return 1;
        }
        printf("replay: %s: %d inputs\n", argv[i], count);
    }
    return argc > 1 ? 0 : 2;
}
