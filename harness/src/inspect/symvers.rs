//! `Module.symvers`: what a kernel and its modules export.

use std::collections::HashMap;

/// A symbol that the kernel or one of its modules exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelSymbol {
    /// 0 for all symbols where the kernel has no `CONFIG_MODVERSIONS`.
    pub(crate) crc: u32,
    /// The module that exports it, by the kernel's name for it; none for the kernel itself.
    pub(crate) module: Option<String>,
    pub(crate) gpl_only: bool,
    /// The namespace that a module must import to use it.
    pub(crate) namespace: Option<String>,
}

/// All symbols by name.
#[derive(Debug, Default)]
pub(crate) struct Symvers {
    pub(crate) symbols: HashMap<String, KernelSymbol>,
    /// The kernel compares CRCs.
    pub(crate) has_crcs: bool,
}

impl Symvers {
    /// Understands lines of `CRC SYMBOL MODULE KIND [NAMESPACE]` between tabs. An error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut symvers = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let refuse = |what: &str, column: usize| {
                format!(
                    "line {}, column {column}: {what}; a line is CRC, symbol, module, kind, namespace between tabs",
                    index + 1
                )
            };
            let mut fields = line.split('\t');
            let mut next = || fields.next().map(str::trim);
            let crc = next().and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
            let crc = crc.ok_or_else(|| refuse("there is no CRC in hex", 1))?;
            let (Some(name), Some(module), Some(kind)) = (next(), next(), next()) else {
                return Err(refuse("it has less than four fields", line.len() + 1));
            };
            symvers.has_crcs |= crc != 0;
            let base = module.rsplit('/').next().unwrap_or(module);
            let module = (base != "vmlinux").then(|| base.trim_end_matches(".ko").replace('-', "_"));
            let namespace = next().filter(|text| !text.is_empty()).map(str::to_owned);
            let symbol = KernelSymbol { crc, module, gpl_only: kind.ends_with("_GPL"), namespace };
            symvers.symbols.insert(name.to_owned(), symbol);
        }
        if symvers.symbols.is_empty() {
            return Err("line 1, column 1: it lists no symbol".to_owned());
        }
        Ok(symvers)
    }
}

/// Whether a module of that name with these imports may use a namespace (`verify_namespace_is_imported` in
/// kernel/module/main.c). Since Linux 6.16 a namespace may list the modules that have it: `module:one,two*`.
pub(crate) fn has_namespace(namespace: &str, module: &str, imports: &[String]) -> bool {
    match namespace.strip_prefix("module:") {
        Some(list) => list
            .split(',')
            .map(|name| name.trim().replace('-', "_"))
            .any(|name| name.strip_suffix('*').map_or(name == module, |start| module.starts_with(start))),
        None => imports.iter().any(|own| own == namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_understood() {
        let text = "0x1234abcd\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n\
                    0x00000001\tmdev_x\tdrivers/vfio/vfio-mdev\tEXPORT_SYMBOL_GPL\tVFIO\n\
                    0x00000002\told\tnet/old\tEXPORT_SYMBOL\n";
        let symvers = Symvers::parse(text).expect("understood");
        assert!(symvers.has_crcs);
        let printk = KernelSymbol { crc: 0x1234_abcd, module: None, gpl_only: false, namespace: None };
        assert_eq!(symvers.symbols["printk"], printk);
        let mdev = &symvers.symbols["mdev_x"];
        assert_eq!((mdev.module.as_deref(), mdev.gpl_only), (Some("vfio_mdev"), true));
        assert_eq!(mdev.namespace.as_deref(), Some("VFIO"));
        assert!(!Symvers::parse("0x00000000\ta\tvmlinux\tEXPORT_SYMBOL\n").expect("understood").has_crcs);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_place() {
        for (text, place) in [
            ("", "line 1, column 1"),
            ("0x1\ta\tvmlinux\tEXPORT_SYMBOL\njunk", "line 2, column 1"),
            ("0x1\ta", "line 1, column 6"),
        ] {
            let told = Symvers::parse(text).expect_err("refused");
            assert!(told.starts_with(place), "{told}");
        }
    }

    #[test]
    fn namespaces_are_imported_or_made_for_a_module() {
        let imports = ["VFIO".to_owned()];
        assert!(has_namespace("VFIO", "x", &imports));
        assert!(!has_namespace("CXL", "x", &imports));
        assert!(has_namespace("module:kvm,kvm-*", "kvm_intel", &[]));
        assert!(!has_namespace("module:kvm,kvm-*", "x", &imports));
    }
}
