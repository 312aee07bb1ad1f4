//! What can be wrong with Day-1 parameters.

/// A parameter that cannot become a MachineConfig, and what would be right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A name that Kubernetes would refuse.
    #[error(
        "{what} {value:?} is no RFC 1123 name ({problem}): use at most {max} lower-case letters, digits, '-' and '.', \
         beginning and ending with a letter or digit, such as {example:?}"
    )]
    Name {
        /// Which parameter.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
        /// The longest name that works.
        max: usize,
        /// A right one.
        example: &'static str,
    },
    /// An image reference with a tag or a digest.
    #[error(
        "kernel_module_image {value:?} ends in a {part}: give the repository alone, {repository:?}; each node adds the tag \
         of its own kernel. To choose another tag or a digest for a kernel, use `tags` or `digests`"
    )]
    ImageWithVersion {
        /// What was given.
        value: String,
        /// `tag` or `digest`.
        part: &'static str,
        /// The reference without it.
        repository: String,
    },
    /// An image reference that is none.
    #[error(
        "kernel_module_image {value:?} is no image repository ({problem}): give the registry's host and a lower-case \
         path, such as {example:?}"
    )]
    Image {
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
        /// Something right, made from the input where that is possible.
        example: String,
    },
    /// A name that no kernel module can have.
    #[error(
        "{value:?} is no kernel module name ({problem}): use at most 55 letters, digits, '_' and '-', without a path or \
         '.ko', such as {example:?}"
    )]
    Module {
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
        /// Something right, made from the input where that is possible.
        example: String,
    },
    /// A path that is not absolute or cannot be written into a script.
    #[error(
        "{value:?} is no usable absolute path ({problem}): begin with '/', without '.' and '..', and use letters, digits and \
         any of / . _ + @ = , -, such as \"/opt/firmware\""
    )]
    Path {
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A kernel release that `uname -r` would never print.
    #[error("{value:?} is no kernel release: write it as `uname -r` prints it, such as \"6.12.41+deb13-amd64\"")]
    KernelRelease {
        /// What was given.
        value: String,
    },
    /// A tag outside the grammar of the OCI distribution specification.
    #[error(
        "{value:?} is no image tag: use at most 128 letters, digits, '_', '.' and '-', beginning with a letter, digit \
         or '_'"
    )]
    Tag {
        /// What was given.
        value: String,
    },
    /// A digest that is none.
    #[error("{value:?} is no image digest: write \"sha256:\" and 64 lower-case hexadecimal digits")]
    Digest {
        /// What was given.
        value: String,
    },
    /// The same module twice in the list of modules to remove.
    #[error(
        "in_tree_modules_to_remove names {module:?} twice ('-' and '_' are the same to the kernel): list it once, after \
         the modules that use it"
    )]
    DuplicateModule {
        /// The module, as the kernel names it.
        module: String,
    },
    /// A kernel with both a tag and a digest.
    #[error("kernel {kernel:?} has an entry in `tags` and in `digests`: keep one of them")]
    TagAndDigest {
        /// The kernel release.
        kernel: String,
    },
    /// A number outside its range.
    #[error("{what} is {value}: it must lie between {min} and {max}")]
    OutOfRange {
        /// Which parameter, with its unit.
        what: &'static str,
        /// What was given.
        value: u64,
        /// The least that works.
        min: u64,
        /// The most that works.
        max: u64,
    },
    /// A BootModuleConfig that cannot be read; the message has line and column.
    #[error("cannot read the BootModuleConfig: {message}")]
    BootModuleConfig {
        /// What the YAML reader says.
        message: String,
    },
    /// The finished configuration could not be written as YAML.
    #[error("cannot write MachineConfig {name}: {message}; this is a fault of the generator, please report it")]
    Render {
        /// The MachineConfig's name.
        name: String,
        /// What the serialiser says.
        message: String,
    },
}
