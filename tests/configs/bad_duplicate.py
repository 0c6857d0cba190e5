_base_ = ['sample/_base_/model.py',
          'sample/deprecated.py']
